package catalogue

import (
	"context"
	"fmt"
	"time"

	"herald"
)

// Limits on the checks of data against operators' schemas, for all events of one publish
// together. A schema of a few lines can ask for exponential time: a tree of two kinds by anyOf
// took 20 s and 5.4 GB on an event of 222 bytes.
const (
	// baseSteps, and stepsPerByte for each byte of data, are the steps that a publish has. A step
	// takes about a tenth of a microsecond. An ordinary schema needs less than one for each byte,
	// and less than two for an array of numbers with one digit.
	baseSteps    = 500_000
	stepsPerByte = 2
	// maxCheckTime bounds the checks on a machine that is too busy to take its steps in time.
	maxCheckTime = 5 * time.Second
	// stepsBetweenLooks is how often a check asks for its caller and for the time.
	stepsBetweenLooks = 4096
)

// Budget bounds the checks of one publish. It is for one goroutine.
type Budget struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the call it belongs to
	left     int
	granted  int
	nextLook int // the steps left at which to ask again
	deadline time.Time
	err      error // why checks must end
}

// NewBudget returns the budget of one publish. Checks end when ctx ends.
func NewBudget(ctx context.Context) *Budget {
	b := &Budget{ctx: ctx}
	b.grant(baseSteps)
	return b
}

// grant adds steps.
func (b *Budget) grant(steps int) {
	b.left += steps
	b.granted += steps
	b.nextLook = b.left
}

// take uses steps up. It reports false when checks must end; err then says why.
func (b *Budget) take(steps int) bool {
	if b.err != nil {
		return false
	}
	b.left -= steps
	switch {
	case b.left < 0:
		b.err = herald.Invalid("data", "data: the check against the event type's schema took more than %d steps; simplify the schema, or send less data.", b.granted)
	case b.left <= b.nextLook:
		b.nextLook = b.left - stepsBetweenLooks
		b.look()
	}
	return b.err == nil
}

func (b *Budget) look() {
	now := time.Now()
	if b.deadline.IsZero() {
		b.deadline = now.Add(maxCheckTime)
	}
	if err := b.ctx.Err(); err != nil {
		b.err = fmt.Errorf("check an event against its type's schema: %w", err)
	} else if now.After(b.deadline) {
		b.err = &herald.Error{Code: herald.CodeUnavailable, RetryAfter: time.Second,
			Message: fmt.Sprintf("The checks of the events against their types' schemas took more than %v. Send fewer events at once, or try again.", maxCheckTime)}
	}
}

// end ends the checks with an error about data.
func (b *Budget) end(format string, args ...any) {
	if b.err == nil {
		b.err = herald.Invalid("data", format, args...)
	}
}
