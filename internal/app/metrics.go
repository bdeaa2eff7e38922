package app

import (
	"context"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// bodyTime is how much longer than --request-timeout an attempt can take: for the body of the answer.
const bodyTime = 5 * time.Second

// measureItself registers the metrics of the program as a whole.
func (a *App) measureItself(r prometheus.Registerer) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "herald_build_info", Help: "Always 1; the labels say which Herald runs, and which Go built it.",
		ConstLabels: prometheus.Labels{"version": a.config.Version, "goversion": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(build)
	for _, g := range []struct {
		name, help string
		value      func() float64
	}{
		{"herald_ready", "1 while this node's /readyz answers 200: publishing works, and the node is not stopping.", a.readyNow},
		{"herald_portal_streams", "Streams that open pages of the portal hold, to be told of changes.", func() float64 { return float64(a.live.Streams()) }},
		{"herald_certificate_expiry_timestamp_seconds", "When the API's certificate expires, or the first of its chain, in seconds since 1970; 0 without TLS.", a.certificateExpires},
		{"herald_last_backup_timestamp_seconds", "When a backup was taken last, in seconds since 1970; 0 if none was, not a number on PostgreSQL, whose backups Herald does not see.", a.lastBackup()},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, g.value))
	}
}

func (a *App) readyNow() float64 {
	if a.ready(context.Background()) != nil { // it has a deadline of its own
		return 0
	}
	return 1
}

func (a *App) certificateExpires() float64 {
	if a.pair == nil {
		return 0
	}
	return float64(a.pair.Expires().Unix())
}

// readBackupEvery is the shortest time between two looks for the last backup: anybody may scrape.
const readBackupEvery = time.Second

// lastBackup returns what reads when a backup was taken last. While it cannot be read, the value is the
// one before.
func (a *App) lastBackup() func() float64 {
	if a.store.Shared() {
		return math.NaN
	}
	var (
		mu     sync.Mutex
		last   time.Time
		readAt time.Time
	)
	return func() float64 {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(readAt) >= readBackupEvery {
			at, err := a.store.LastBackup(context.Background()) // it has a deadline of its own
			if readAt = time.Now(); err == nil {
				last = at
			}
		}
		if last.IsZero() {
			return 0
		}
		return float64(last.Unix())
	}
}
