package portal

import "herald"

// timelineWidth is the width of an attempt's bars in the units of its SVG.
const timelineWidth = 1000

// phase is one bar of an attempt.
type phase struct {
	Kind, Name string
	Millis     float64
	X, Width   float64
}

// phasesOf returns the bars of an attempt, where longest is what the whole width stands for. What is left after
// the first byte is the reading of the response's body.
func phasesOf(t herald.Timings, longest float64) []phase {
	if longest <= 0 || t.Total <= 0 {
		return nil
	}
	scale := timelineWidth / max(longest, t.DNS+t.Connect+t.TLS+t.FirstByte)
	var shown []phase
	x := 0.0
	for _, one := range allPhases(t) {
		if one.Millis <= 0 {
			continue
		}
		one.X, one.Width = x, one.Millis*scale
		x += one.Width
		shown = append(shown, one)
	}
	return shown
}

// allPhases returns the phases of an attempt in their order, also those that took no time.
func allPhases(t herald.Timings) []phase {
	return []phase{
		{Kind: "dns", Name: "name look-up", Millis: t.DNS}, {Kind: "connect", Name: "connection", Millis: t.Connect},
		{Kind: "tls", Name: "TLS", Millis: t.TLS}, {Kind: "wait", Name: "first byte", Millis: t.FirstByte},
		{Kind: "body", Name: "body and the rest", Millis: max(0, t.Total-t.DNS-t.Connect-t.TLS-t.FirstByte)},
	}
}
