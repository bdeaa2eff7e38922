package native

import (
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"herald"
	"herald/internal/api"
	"herald/internal/api/openapi"
)

// registerService registers the calls without a key: whether the process lives, and
// whether the service can serve. A success is a line of text. It also registers what the
// service is configured to do, which needs a key.
func (s *surface) registerService() {
	s.probe(huma.Operation{
		OperationID: "healthz", Method: http.MethodGet, Path: "/healthz", Tags: []string{"Service"},
		Summary: "Whether the process lives",
	}, func(*http.Request) error { return nil }, nil)
	s.probe(huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Tags: []string{"Service"},
		Summary:   "Whether the service can serve",
		Responses: map[string]*huma.Response{"503": {Ref: openapi.ErrorRef}},
	}, s.readiness, s.Notice)
	call(s, huma.Operation{
		OperationID: "getCapabilities", Method: http.MethodGet, Path: "/capabilities", Tags: []string{"Service"},
		DefaultStatus: http.StatusOK,
		Summary:       "What the service is configured to do",
		Description:   "Without mail, deliveries to mailboxes fail with the reason no_mail_server.",
	}, withAnyKey, func(*http.Request, herald.Caller) (capabilities, error) { return capabilities{Mail: s.SendsMail}, nil })
	call(s, huma.Operation{
		OperationID: "getStatus", Method: http.MethodGet, Path: "/status", Tags: []string{"Service"},
		DefaultStatus: http.StatusOK,
		Summary:       "How the service is",
		Description:   "What needs attention, in words, and the figures behind it. Without its database it answers too, with less.",
	}, withOperatorKey, func(r *http.Request, _ herald.Caller) (herald.Status, error) { return s.Status(r.Context()) })
}

// capabilities say what the service can do with its present configuration.
type capabilities struct {
	Mail bool `json:"mail" doc:"Whether a mail server is configured."`
}

// readiness returns CodeUnavailable for every error that keeps the service from serving.
func (s *surface) readiness(r *http.Request) error {
	err := s.Ready(r.Context())
	if err == nil || herald.CodeOf(err) == herald.CodeUnavailable {
		return err
	}
	return &herald.Error{Code: herald.CodeUnavailable, Message: "The service is not ready.", Cause: err}
}

// probe serves a call that answers ok, and a notice in a line of its own, unless check fails.
func (s *surface) probe(op huma.Operation, check func(*http.Request) error, notice func() string) {
	op.Security = []map[string][]string{}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["200"] = &huma.Response{Description: "Yes.", Content: map[string]*huma.MediaType{
		"text/plain": {Schema: &huma.Schema{Type: "string"}},
	}}
	s.API.OpenAPI().AddOperation(&op)
	s.serve(&op, func(w http.ResponseWriter, r *http.Request) {
		if err := check(r); err != nil {
			api.WriteError(w, r, err)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "ok\n"
		if notice != nil {
			if line := notice(); line != "" {
				text += line + "\n"
			}
		}
		_, _ = io.WriteString(w, text) // fails only when the caller has gone
	})
}
