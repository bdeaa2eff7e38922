package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Backup returns an archive (tar) of the service's embedded database, with its secret key if that is
// asked for. It needs the operator's key. The caller closes it. An archive that breaks off ends with an
// error other than io.EOF.
func (c *API) Backup(ctx context.Context, withSecretKey bool) (io.ReadCloser, error) {
	target := c.base.JoinPath("/backup")
	if withSecretKey {
		target.RawQuery = url.Values{"secretKey": {"true"}}.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("POST /backup: %w", err)
	}
	request.Header.Set("Authorization", c.authorization)
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no answer from %s: %w", c.base.Redacted(), err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 64<<10)) // what came says what is wrong
		return nil, errorOf(response, answer)
	}
	return response.Body, nil
}
