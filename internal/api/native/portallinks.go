package native

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"herald"
	"herald/internal/api/openapi"
)

// PortalLinks makes links into the portal.
type PortalLinks interface {
	// CreatePortalLink makes a link that lives as long as life, and returns its secret this once.
	// CodeNotFound when there is no such client, CodeTooMany when it has herald.MaxOpenLinks.
	CreatePortalLink(ctx context.Context, by herald.Caller, l herald.PortalLink, life time.Duration) (made herald.PortalLink, token string, err error)
}

// portalLinkRequest describes the body that makes a portal link.
type portalLinkRequest struct {
	_         struct{}    `additionalProperties:"false"`
	Role      herald.Role `json:"role,omitempty" enum:"administrator,developer,analyst" default:"developer" doc:"What the person may do."`
	ExpiresIn int         `json:"expiresIn,omitempty" minimum:"1" maximum:"86400" default:"600" doc:"After how many seconds an unused link expires."`
	Path      string      `json:"path,omitempty" maxLength:"2000" doc:"Where the person arrives, below the client's pages, such as /deliveries?state=failed. Without it: the overview."`
}

// portalLink is the answer to createPortalLink.
type portalLink struct {
	URL       string      `json:"url" doc:"Signs one person in, once. Its secret is in the fragment, which browsers send to nobody."`
	ClientID  uuid.UUID   `json:"clientId"`
	Role      herald.Role `json:"role"`
	ExpiresAt time.Time   `json:"expiresAt"`
}

func (s *surface) registerPortalLinks() {
	call(s, huma.Operation{
		OperationID: "createPortalLink", Method: http.MethodPost, Path: "/clients/{id}/portalLinks", Tags: []string{"Clients"},
		DefaultStatus: http.StatusCreated, Errors: []int{http.StatusConflict, http.StatusTooManyRequests},
		Summary: "Make a link into the portal",
		Description: "For a platform that has a login of its own: send the browser of somebody who is signed in there to this address. " +
			"At most 1000 unused links of a client at once. With the portal switched off it is a 409.",
		RequestBody: openapi.OptionalRequestOf[portalLinkRequest](s.API.OpenAPI()),
	}, withOperatorKey, s.createPortalLink)
}

func (s *surface) createPortalLink(r *http.Request, caller herald.Caller) (portalLink, error) {
	id, err := pathID(r, "id", "client")
	if err != nil {
		return portalLink{}, err
	}
	if s.PortalURL == nil {
		return portalLink{}, herald.Errorf(herald.CodeConflict, "The portal is switched off. Start the service with --portal to have it.")
	}
	l, life := herald.PortalLink{ClientID: id, Role: herald.Developer}, herald.DefaultLinkLife
	if err := readPortalLink(r, &l, &life); err != nil {
		return portalLink{}, err
	}
	made, token, err := s.PortalLinks.CreatePortalLink(r.Context(), caller, l, life)
	if err != nil {
		return portalLink{}, err
	}
	return portalLink{URL: s.PortalURL(r, token), ClientID: id, Role: made.Role, ExpiresAt: made.ExpiresAt}, nil
}

func readPortalLink(r *http.Request, l *herald.PortalLink, life *time.Duration) error {
	return readOptionalObject(r, func(c *cursor, member string) (err error) {
		switch member {
		case "role":
			var role herald.Role
			if role, err = readRole(c); role != "" {
				l.Role = role
			}
		case "expiresIn":
			var seconds int
			if seconds, err = c.whole(1, int(herald.MaxLinkLife/time.Second)); seconds != 0 {
				*life = time.Duration(seconds) * time.Second
			}
		case "path":
			if l.Path, err = c.text(0, herald.MaxLinkPath); err == nil {
				err = herald.CheckPortalPath(l.Path)
			}
		default:
			err = unknown("role, expiresIn and path")
		}
		return err
	})
}
