package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// profileSeconds is how long a profile of a run is taken, from its start. A profile of processor time
// has nothing of the time after the run's end.
const profileSeconds = 5

var notInFileNames = regexp.MustCompile(`[^a-z0-9]+`)

// profile begins to take profiles of the first node. The function that it returns waits for their end
// and writes them: the processor time and the allocations.
func (s *service) profile(ctx context.Context, dir, run string) (finish func() error) {
	errs := make(chan error, 2)
	var both sync.WaitGroup
	for what, page := range map[string]string{"cpu": "profile", "allocs": "allocs"} {
		both.Go(func() {
			file := filepath.Join(dir, notInFileNames.ReplaceAllString(run, "-")+"."+what+".pprof")
			errs <- download(ctx, fmt.Sprintf("http://%s/debug/pprof/%s?seconds=%d", s.nodes[0].profiles, page, profileSeconds), file)
		})
	}
	return func() error {
		both.Wait()
		for range 2 {
			if err := <-errs; err != nil {
				return fmt.Errorf("profile: %w", err)
			}
		}
		return nil
	}
}

func download(ctx context.Context, url, file string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, text)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}
