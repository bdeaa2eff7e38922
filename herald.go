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
	"encoding/binary"
	"fmt"
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
// t and s are UUIDv7's milliseconds and, after RFC 9562 section 6.2 method 3,
// the time within the millisecond in steps of 256 ns; r is random.
const (
	// MaxAlerts is the largest number of rules one event can meet.
	MaxAlerts = 1<<16 - 1
	// MaxDeliveries is the largest number of deliveries of one alert,
	// redeliveries included.
	MaxDeliveries = 1 << 8
)

// NewID returns a new UUIDv7. The ids made by one process rise strictly.
func NewID() uuid.UUID {
	id, err := uuid.NewV7()
	if err != nil {
		// The only cause is a failure of the system's random source. After that
		// no id of this process can be trusted to be unique.
		panic(fmt.Sprintf("make an id: %v", err))
	}
	return id
}

// NewEventID returns a new UUIDv7 whose last three bytes are zero. They number
// the event's alerts and deliveries.
func NewEventID() uuid.UUID {
	id := NewID()
	id[13], id[14], id[15] = 0, 0, 0
	return id
}

// AlertID returns the id of an event's n-th alert, counting from 1 to MaxAlerts.
func AlertID(event uuid.UUID, n int) uuid.UUID {
	binary.BigEndian.PutUint16(event[13:15], uint16(n))
	event[15] = 0
	return event
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
	return time.UnixMicro(int64(binary.BigEndian.Uint64(ms[:]))*1000 + steps*256/1000).UTC()
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
