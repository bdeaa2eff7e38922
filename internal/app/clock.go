package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"herald/internal/policy"
)

// notice returns what a person who looks at readiness should know, or "". Requests need not go
// elsewhere for it: the service goes on by elapsed time.
func (a *App) notice() string {
	return strings.Trim(a.clockNotice()+"\n"+a.engine.Paused(), "\n")
}

func (a *App) clockNotice() string {
	jump := a.clock.Jump()
	if jump == 0 {
		return ""
	}
	whose := "system's"
	if a.config.Database != "" {
		whose = "database's"
	}
	return fmt.Sprintf("the %s clock has jumped by %v; the jump is followed if it lasts", whose, jump.Round(time.Second))
}

// pullBack returns the maintenance step that brings forward deliveries which a clock that was
// ahead has scheduled. It goes through the queue at the start, after the clock has followed a
// jump, and every expireInterval.
func (a *App) pullBack() func(context.Context) (int, error) {
	longest := max(policy.Rules(a.config.RetrySchedule).LongestWait(), policy.Mail(a.config.MailSchedule).LongestWait(), a.config.MailWindow)
	var (
		after    uuid.UUID
		began    time.Time
		followed int
	)
	return func(ctx context.Context) (int, error) {
		if after == uuid.Nil {
			now := a.clock.Followed()
			if !began.IsZero() && now == followed && time.Since(began) < expireInterval {
				return 0, nil
			}
			began, followed = time.Now(), now
		}
		last, err := a.store.PullBackDue(ctx, after, longest)
		if err != nil {
			return 0, err
		}
		if after = last; last == uuid.Nil {
			return 0, nil
		}
		return 1, nil
	}
}
