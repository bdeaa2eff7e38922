package portal

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/uuid"

	"herald"
)

// findView is what the search shows when it leads nowhere.
type findView struct{ Text, Hint string }

// find takes any id and leads to what has it.
func (p *portal) find(r *http.Request, v visit) (answer, error) {
	text := strings.TrimSpace(r.URL.Query().Get("id"))
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") || strings.HasPrefix(text, herald.MailScheme) {
		return listOf(v, url.Values{"receiver": {text}}), nil
	}
	if strings.Contains(text, "@") {
		return listOf(v, url.Values{"receiver": {herald.MailScheme + text}}), nil
	}
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 || id == uuid.Nil {
		hint := "The search takes a whole id: of an event, an alert, a delivery, a rule or a company. It also takes a receiver's address."
		if len(text) == 32 && err == nil {
			hint = "This looks like the correlation id of an answer. It is in the service's log, for its operator."
		}
		return nothingFound(cutText(text, 80), hint), nil
	}
	to, err := p.locate(r.Context(), v, id)
	if err != nil || to.location != "" {
		return to, err
	}
	return nothingFound(id.String(), "Nothing of this client has this id. What is older than the retention is deleted."), nil
}

func nothingFound(text, hint string) answer {
	return page("find.html", "Nothing found", findView{text, hint})
}

func listOf(v visit, filter url.Values) answer {
	return seeOther("%s?%s", v.client.path("/deliveries"), filter.Encode())
}

// locate returns where the thing with an id is shown, or nothing.
func (p *portal) locate(ctx context.Context, v visit, id uuid.UUID) (answer, error) {
	_, _, err := p.Deliveries.Delivery(ctx, v.client.ID, id)
	if herald.CodeOf(err) != herald.CodeNotFound {
		return seeOther("%s", v.client.path("/deliveries/"+id.String())), err
	}
	_, _, err = p.Events.Event(ctx, v.client.ID, id)
	if herald.CodeOf(err) != herald.CodeNotFound {
		return seeOther("%s", v.client.path("/events/"+id.String())), err
	}
	if _, err = p.Rules.Rule(ctx, v.client.ID, id); herald.CodeOf(err) != herald.CodeNotFound {
		return seeOther("%s", v.client.path("/rules/"+id.String())), err
	}
	for _, filter := range []herald.DeliveryFilter{{Alert: id}, {Company: id}} {
		f := filter
		f.Limit = 1
		found, _, err := p.Deliveries.Deliveries(ctx, v.client.ID, f)
		if err != nil {
			return answer{}, err
		}
		name := map[bool]string{true: "alert", false: "company"}[f.Alert != uuid.Nil]
		if len(found) > 0 {
			return listOf(v, url.Values{name: {id.String()}}), nil
		}
	}
	return answer{}, nil
}
