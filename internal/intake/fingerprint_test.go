package intake

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/uuid"

	"herald"
)

// TestFingerprintStaysTheSame: fingerprints are stored, and a repeat after an upgrade must match.
func TestFingerprintStaysTheSame(t *testing.T) {
	for want, e := range map[string]herald.Event{
		"799c27066dfcd63365ea33d00a15dcaa4babbb24665658303b5cf77ab0364e0b": {Type: "Sync Completed", CompanyID: uuid.MustParse("22222222-2222-4222-8222-222222222222"), ConnectionID: uuid.MustParse("33333333-3333-4333-8333-333333333333"),
			Data: []byte(`{"syncId":"é"}`), Message: "done", OccurredAt: time.Date(2026, 5, 3, 11, 56, 17, 5e8, time.FixedZone("", 7200))},
		"06637b3688dfb475f651cc56320cff19cc7aaeee064f32c21eaea9fbacb6696a": {Type: "t"},
	} {
		got := fingerprint(e)
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("the fingerprint of %+v is %x, want %s", e, got, want)
		}
	}
}
