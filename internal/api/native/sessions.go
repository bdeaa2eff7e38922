package native

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"herald"
	"herald/internal/api/openapi"
)

// Sessions keeps who is signed in to the portal.
type Sessions interface {
	// EndSessions ends all sessions of the caller's key, on every node.
	EndSessions(ctx context.Context, by herald.Caller) error
}

func (s *surface) registerSessions() {
	call(s, huma.Operation{
		OperationID: "endSessions", Method: http.MethodDelete, Path: "/sessions", Tags: []string{"Clients"},
		DefaultStatus: http.StatusNoContent,
		Summary:       "Sign out of the portal everywhere",
		Description:   "Ends every session of the portal that was made with this key, at once and on every node. Sessions of portal links go on.",
	}, withAnyKey, func(r *http.Request, caller herald.Caller) (openapi.NoBody, error) {
		return openapi.NoBody{}, s.Sessions.EndSessions(r.Context(), caller)
	})
}
