package policy

import "time"

// Bounds of PostponeFor. The shortest one is short, because most faults of a service pass: descriptors
// become free, a name server is back. The longest one bounds how long a delivery waits after a fault
// that took days to mend.
const (
	shortestPostpone = 5 * time.Second
	longestPostpone  = 15 * time.Minute
)

// PostponeFor returns how long a delivery waits whose attempt this service could not make: a quarter
// of the delivery's age, within bounds. So the pauses double about every three tries, and a delivery
// that can never be attempted costs about 700 tries in its seven days. random is in [0, 1) and
// spreads deliveries that were postponed together.
func PostponeFor(age time.Duration, random float64) time.Duration {
	wait := min(max(age/4, shortestPostpone), longestPostpone)
	return wait + spread(wait, random)
}
