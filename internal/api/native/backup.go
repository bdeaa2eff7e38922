package native

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
)

// Backups copies the service's data.
type Backups interface {
	// Backup returns an archive (tar) of the database as it is now, with the secret key if that is
	// asked for. CodeConflict when the database has its own tools for that.
	Backup(ctx context.Context, by herald.Caller, withSecretKey bool) (io.ReadCloser, error)
}

// backupPatience is how long a reader of a backup may take for one part of it.
const backupPatience = time.Minute

func (s *surface) registerBackup() {
	stream(s, huma.Operation{
		OperationID: "takeBackup", Method: http.MethodPost, Path: "/backup", Tags: []string{"Service"},
		Summary: "Take a backup",
		Description: "A tar archive with herald.db, a copy of the embedded database that holds all that was acknowledged before the call. " +
			"Publishing goes on meanwhile. With PostgreSQL it is a 409: use its own tools.",
		Parameters: []*huma.Param{openapi.QueryParameter("secretKey", huma.Schema{Type: "boolean", Default: false},
			"Whether secret.key is in it. Without that key, the Authorization headers in the copy cannot be read.")},
		Errors: []int{http.StatusConflict},
		Responses: map[string]*huma.Response{"200": {Description: "The archive.", Content: map[string]*huma.MediaType{
			"application/x-tar": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}}},
	}, withOperatorKey, func(r *http.Request, caller herald.Caller) (io.ReadCloser, error) {
		withKey := false
		switch value := r.URL.Query().Get("secretKey"); value {
		case "", "false":
		case "true":
			withKey = true
		default:
			return nil, herald.Invalid("secretKey", "secretKey %q: want true or false", short(value))
		}
		return s.Backups.Backup(r.Context(), caller, withKey)
	})
}

// stream is call for a call that answers with bytes. An error of the reader after the first byte ends
// the connection, so that the caller does not take half an answer for a whole one.
func stream(s *surface, op huma.Operation, who access, serve func(*http.Request, herald.Caller) (io.ReadCloser, error)) {
	run := describeCall[openapi.NoBody](s, &op, who, serve)
	s.serve(&op, func(w http.ResponseWriter, r *http.Request) {
		body, err := run(r)
		if err != nil {
			api.WriteError(w, r, err)
			return
		}
		defer body.Close()
		w.Header().Set("Content-Type", "application/x-tar")
		control := http.NewResponseController(w)
		for {
			_ = control.SetWriteDeadline(time.Now().Add(backupPatience)) // without deadlines the server's holds
			if _, err := io.CopyN(w, body, 1<<20); err == io.EOF {
				return
			} else if err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	})
}
