// Package herald is the domain: clients, rules, events, alerts, deliveries and attempts,
// the relations of their ids, and the error codes. It knows neither HTTP nor SQL.
//
// A publisher's Event raises one Alert for every Rule that it meets. Each alert has one
// Delivery for every receiver on the rule. A delivery is made in Attempts until it is
// delivered, it failed or it was cancelled:
//
//	Event ──meets──▶ Rule
//	  │                │
//	  └──── Alert ◀────┘          one for every rule met
//	          │
//	          └──── Delivery      one for every receiver, see State
//	                   │
//	                   └── Attempt  one HTTP request or SMTP transaction
//
// internal/intake accepts events, internal/delivery sends, internal/store stores, and
// internal/api has the HTTP surfaces.
package herald

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// The ids of an event, its alerts and its deliveries share their first thirteen bytes.
// So one range of the primary key finds everything that an event caused, without an index:
//
//	event     tttttttttttt 7sss vvrrrrrrrr 0000 00
//	alert     …                            aaaa 00    a = 1…65535, one a rule met
//	delivery  …                            aaaa dd    d = 0 the webhook, then mailboxes, then redeliveries
//
// In the ids of a test of a rule the version is 8 instead of 7.
//
// t and s are UUIDv7's milliseconds and, after RFC 9562 section 6.2 method 3,
// the time within the millisecond in steps of 256 ns; r is random.
const (
	// MaxAlerts is the largest number of rules one event can meet.
	MaxAlerts = 1<<16 - 1
	// MaxDeliveries is the largest number of deliveries of one alert,
	// redeliveries included.
	MaxDeliveries = 1 << 8
)

// IDs makes UUIDv7 ids from a clock. It is safe for concurrent use.
type IDs struct {
	now func() time.Time

	mu   sync.Mutex
	last uint64 // the time of the last id, see idTime
}

// NewIDs returns an IDs whose times come from now.
func NewIDs(now func() time.Time) *IDs { return &IDs{now: now} }

// The time in an id, as one number: its milliseconds and, in the last 12 bits, the steps.
const (
	stepBits       = 12
	stepNanos      = 256
	stepsPerMilli  = uint64(time.Millisecond) / stepNanos // only whole ones are used
	maxAheadMillis = 1000
)

func idTime(t time.Time) uint64 {
	return uint64(max(t.UnixMilli(), 0))<<stepBits | uint64(t.Nanosecond())%uint64(time.Millisecond)/stepNanos
}

// New returns a new id. The ids rise strictly, even if the clock stands still. They follow the
// clock when it is set back by more than a second: otherwise they would stay ahead until a
// restart.
func (s *IDs) New() uuid.UUID {
	var id uuid.UUID
	if _, err := rand.Read(id[8:]); err != nil {
		panic(fmt.Sprintf("make an id: %v", err)) // crypto/rand.Read ends the program itself
	}
	now := idTime(s.now())
	s.mu.Lock()
	if now <= s.last && s.last-now < maxAheadMillis<<stepBits {
		if now = s.last + 1; now&(1<<stepBits-1) >= stepsPerMilli {
			now = now>>stepBits<<stepBits + 1<<stepBits
		}
	}
	s.last = now
	s.mu.Unlock()
	binary.BigEndian.PutUint64(id[:8], now>>stepBits<<16|0x7000|now&(1<<stepBits-1))
	id[8] = id[8]&0x3f | 0x80 // the variant of RFC 9562
	return id
}

// NewEvent returns a new id whose last three bytes are zero. They number the
// event's alerts and deliveries.
func (s *IDs) NewEvent() uuid.UUID { return EventOf(s.New()) }

// NewTest returns a new id like NewEvent, for a test of a rule. Its version is 8 instead of 7 (RFC 9562
// section 5.8), so the ids of its alerts and deliveries show that they are of a test, see IsTest.
func (s *IDs) NewTest() uuid.UUID {
	id := s.NewEvent()
	id[6] = id[6]&0x0f | testVersion<<4
	return id
}

// testVersion is the version of the ids of tests.
const testVersion = 8

// IsTest reports whether an event, or the event that an alert or a delivery comes from, is a test of a
// rule.
func IsTest(id uuid.UUID) bool { return id[6]>>4 == testVersion }

// systemIDs makes the ids whose times do not matter.
var systemIDs = NewIDs(time.Now)

// NewID returns a new UUIDv7 with the system's time. What is compared with the times of others
// has an id of the program's clock instead, see IDs.
func NewID() uuid.UUID { return systemIDs.New() }

// NewEventID returns a new UUIDv7 like NewID, whose last three bytes are zero.
func NewEventID() uuid.UUID { return systemIDs.NewEvent() }

// AlertID returns the id of an event's n-th alert, counting from 1 to MaxAlerts.
func AlertID(event uuid.UUID, n int) uuid.UUID {
	binary.BigEndian.PutUint16(event[13:15], uint16(n))
	event[15] = 0
	return event
}

// AppendID appends an id as text, without an allocation.
func AppendID(text []byte, id uuid.UUID) []byte {
	text = append(hex.AppendEncode(text, id[:4]), '-')
	text = append(hex.AppendEncode(text, id[4:6]), '-')
	text = append(hex.AppendEncode(text, id[6:8]), '-')
	text = append(hex.AppendEncode(text, id[8:10]), '-')
	return hex.AppendEncode(text, id[10:])
}

// DeliveryID returns the id of an alert's n-th delivery, counting from 0.
func DeliveryID(alert uuid.UUID, n int) uuid.UUID {
	alert[15] = byte(n)
	return alert
}

// EventOf returns the id of the event that an alert or delivery comes from.
func EventOf(id uuid.UUID) uuid.UUID {
	id[13], id[14], id[15] = 0, 0, 0
	return id
}

// AlertOf returns the id of the alert that a delivery belongs to.
func AlertOf(delivery uuid.UUID) uuid.UUID {
	delivery[15] = 0
	return delivery
}

// TimeOf returns when a UUIDv7 was made, in UTC, truncated to microseconds.
func TimeOf(id uuid.UUID) time.Time {
	var ms [8]byte
	copy(ms[2:], id[:6])
	steps := int64(binary.BigEndian.Uint16(id[6:8]) & 0x0fff)
	return Clamp(time.UnixMicro(int64(binary.BigEndian.Uint64(ms[:]))*1000 + steps*256/1000))
}

// The first and the last instant that a JSON date-time of RFC 3339 can have: years have four
// digits there, and encoding/json refuses others.
var (
	MinTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	MaxTime = time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC)
)

// Clamp returns t in UTC, or the nearest instant from MinTime to MaxTime.
func Clamp(t time.Time) time.Time {
	switch {
	case t.Before(MinTime):
		return MinTime
	case t.After(MaxTime):
		return MaxTime
	default:
		return t.UTC()
	}
}

// FirstIDAt returns the smallest UUIDv7 that can have been made at or after t. It
// bounds ranges over time.
func FirstIDAt(t time.Time) uuid.UUID {
	var id uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(t.UnixMilli(), 0)))
	copy(id[:6], ms[2:])
	binary.BigEndian.PutUint16(id[6:8], 0x7000|uint16((t.UnixMicro()%1000*1000+255)/256))
	return id
}
