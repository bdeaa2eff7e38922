package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
)

var (
	acme    = uuid.MustParse("11111111-1111-4111-8111-111111111111")
	company = uuid.MustParse("22222222-2222-4222-8222-222222222222")
	conn    = uuid.MustParse("33333333-3333-4333-8333-333333333333")
)

const wholeEvent = `{
	"type": "Data sync completed",
	"clientId": "11111111-1111-4111-8111-111111111111",
	"companyId": "22222222-2222-4222-8222-222222222222",
	"dataConnectionId": "33333333-3333-4333-8333-333333333333",
	"data": { "dataType": "invoices", "n": [ 1, 2.50, { "deep\u0020name": "a b" } ], "html": "<&>" },
	"message": "Zoë's \"sync\" is done \ud83c\udf89",
	"occurredAt": "2026-05-03T11:56:17.5+02:00",
	"idempotencyKey": "k-1"
}`

func TestEveryMemberOfAnEventIsRead(t *testing.T) {
	pubs, many, err := decodePublish([]byte(wholeEvent))
	if err != nil || many {
		t.Fatalf("decodePublish: many %v, error %v", many, err)
	}
	want := []herald.Publication{{
		Event: herald.Event{
			Type: "Data sync completed", ClientID: acme, CompanyID: company, ConnectionID: conn,
			Data:       json.RawMessage(`{"dataType":"invoices","n":[1,2.50,{"deep\u0020name":"a b"}],"html":"<&>"}`),
			Message:    "Zoë's \"sync\" is done 🎉",
			OccurredAt: time.Date(2026, 5, 3, 9, 56, 17, 500e6, time.UTC),
		},
		IdempotencyKey: "k-1",
	}}
	if diff := cmp.Diff(want, pubs); diff != "" {
		t.Error(diff)
	}
}

func TestLeftOutNullAndZeroMeanNone(t *testing.T) {
	want := []herald.Publication{{Event: herald.Event{Type: "t"}}}
	for _, body := range []string{
		`{"type":"t"}`,
		"\r\n\t {\"type\":\"t\"} \n",
		`[{"type":"t"}]`,
		`{"type":"t","clientId":null,"companyId":null,"dataConnectionId":null,"data":null,"message":null,"occurredAt":null,"idempotencyKey":null}`,
		`{"type":"t","companyId":"00000000-0000-0000-0000-000000000000","message":""}`,
	} {
		pubs, _, err := decodePublish([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, pubs); diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
}

func TestWhatIsWrongInAPublishIsNamed(t *testing.T) {
	big := func(n int) string { return `{"type":"t","data":{"x":"` + strings.Repeat("x", n) + `"}}` }
	deep := func(n int) string {
		return `{"type":"t","data":{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	for _, test := range []struct {
		name, body string
		member     string
		text       string // part of the message
		code       herald.Code
	}{
		{"no body", "", "", "empty", herald.CodeInvalid},
		{"blank body", " \n", "", "empty", herald.CodeInvalid},
		{"broken JSON", `{"type":"t",}`, "", "at byte 13", herald.CodeInvalid},
		{"cut off", `{"type":"t"`, "", "unexpected end", herald.CodeInvalid},
		{"trailing garbage", `{"type":"t"} {}`, "", "after top-level value", herald.CodeInvalid},
		{"absurdly deep JSON", strings.Repeat("[", 100_000), "", "depth", herald.CodeInvalid},
		{"bytes that are not UTF-8", "{\"type\":\"\xff\"}", "", "UTF-8", herald.CodeInvalid},
		{"a number", `7`, "", "want an event object or an array of them, got a number", herald.CodeInvalid},
		{"a string", `"x"`, "", `got the string "x"`, herald.CodeInvalid},
		{"null", `null`, "", "got null", herald.CodeInvalid},
		{"no events", `[]`, "", "array is empty", herald.CodeInvalid},
		{"too many events", `[` + strings.Repeat(`{"type":"t"},`, herald.MaxEvents) + `{"type":"t"}]`, "[1000]", "at most 1000", herald.CodeTooLarge},
		{"an event that is no object", `[{"type":"t"},3]`, "[1]", "want an object, got a number", herald.CodeInvalid},
		{"no type", `{}`, "type", "missing", herald.CodeInvalid},
		{"null type", `{"type":null}`, "type", "missing", herald.CodeInvalid},
		{"empty type", `{"type":""}`, "type", "empty", herald.CodeInvalid},
		{"type of another kind", `{"type":7}`, "type", "want a string, got a number", herald.CodeInvalid},
		{"type too long", `{"type":"` + strings.Repeat("é", 201) + `"}`, "type", "201 characters; at most 200", herald.CodeInvalid},
		{"unknown member", `{"type":"t","colour":"red"}`, "colour", "no such member; there are type, clientId", herald.CodeInvalid},
		{"unknown null member", `{"type":"t","colour":null}`, "colour", "no such member", herald.CodeInvalid},
		{"member in another case", `{"Type":"t"}`, "Type", "no such member", herald.CodeInvalid},
		{"escaped unknown member", `{"\u0063olour":1}`, "colour", "no such member", herald.CodeInvalid},
		{"member twice", `{"type":"t","type":"u"}`, "type", "twice", herald.CodeInvalid},
		{"member twice, once escaped", `{"type":"t","\u0074ype":"u"}`, "type", "twice", herald.CodeInvalid},
		{"member twice in data", `{"type":"t","data":{"a":[0,{"b":1,"b":2}]}}`, "data.a[1].b", "twice", herald.CodeInvalid},
		{"company no GUID", `{"type":"t","companyId":"acme"}`, "companyId", `"acme" is not a GUID`, herald.CodeInvalid},
		{"company GUID in braces", `{"type":"t","companyId":"{22222222-2222-4222-8222-222222222222}"}`, "companyId", "not a GUID", herald.CodeInvalid},
		{"company of another kind", `{"type":"t","companyId":{}}`, "companyId", "want a GUID, got an object", herald.CodeInvalid},
		{"client empty", `{"type":"t","clientId":""}`, "clientId", "not a GUID", herald.CodeInvalid},
		{"connection of another kind", `{"type":"t","dataConnectionId":true}`, "dataConnectionId", "got true or false", herald.CodeInvalid},
		{"data an array", `{"type":"t","data":[1]}`, "data", "want an object, got an array", herald.CodeInvalid},
		{"data a string", `{"type":"t","data":"{}"}`, "data", `want an object, got the string "{}"`, herald.CodeInvalid},
		{"data too deep", deep(maxDepth), "data.x" + strings.Repeat("[0]", maxDepth-2), "nest less", herald.CodeInvalid},
		{"message too long", `{"type":"t","message":"` + strings.Repeat("x", 2001) + `"}`, "message", "at most 2000", herald.CodeInvalid},
		{"message with NUL", `{"type":"t","message":"a\u0000b"}`, "message", "U+0000", herald.CodeInvalid},
		{"message with half a pair", `{"type":"t","message":"\ud83c\udf89 \ud800"}`, "message", "half a surrogate pair", herald.CodeInvalid},
		{"message with a pair the wrong way round", `{"type":"t","message":"\udf89\ud83c"}`, "message", "half a surrogate pair", herald.CodeInvalid},
		{"message with half a pair and an escape", `{"type":"t","message":"\\ud83c \ud83c\n"}`, "message", "half a surrogate pair", herald.CodeInvalid},
		{"key with half a pair", `{"type":"t","idempotencyKey":"\uD800"}`, "idempotencyKey", "half a surrogate pair", herald.CodeInvalid},
		{"type with NUL", `{"type":"t\u0000"}`, "type", "U+0000", herald.CodeInvalid},
		{"key with NUL", `{"type":"t","idempotencyKey":"\u0000"}`, "idempotencyKey", "U+0000", herald.CodeInvalid},
		{"NUL as it is", "{\"type\":\"\x00\"}", "", "at byte 10", herald.CodeInvalid},
		{"a byte order mark", "\ufeff{\"type\":\"t\"}", "", "at byte 1", herald.CodeInvalid},
		{"key of another kind", `{"type":"t","idempotencyKey":1}`, "idempotencyKey", "want a string, got a number", herald.CodeInvalid},
		{"message of another kind", `{"type":"t","message":["x"]}`, "message", "want a string, got an array", herald.CodeInvalid},
		{"time without zone", `{"type":"t","occurredAt":"2026-05-03T09:56:17"}`, "occurredAt", "not a date-time", herald.CodeInvalid},
		{"time before the first year", `{"type":"t","occurredAt":"0001-01-01T00:00:00+01:00"}`, "occurredAt", "want a year from 0001 to 9999", herald.CodeInvalid},
		{"time in the year 0", `{"type":"t","occurredAt":"0000-06-01T00:00:00Z"}`, "occurredAt", "lies in the year 0 in UTC", herald.CodeInvalid},
		{"time after the last year", `{"type":"t","occurredAt":"9999-12-31T23:59:59-00:01"}`, "occurredAt", "lies in the year 10000 in UTC", herald.CodeInvalid},
		{"time a number", `{"type":"t","occurredAt":1777802177}`, "occurredAt", "want a date-time, got a number", herald.CodeInvalid},
		{"key empty", `{"type":"t","idempotencyKey":""}`, "idempotencyKey", "1 to 256", herald.CodeInvalid},
		{"key too long", `{"type":"t","idempotencyKey":"` + strings.Repeat("k", 257) + `"}`, "idempotencyKey", "at most 256", herald.CodeInvalid},
		{"member of one of several", `[{"type":"t"},{"type":"t","companyId":7}]`, "[1].companyId", "[1].companyId: want a GUID", herald.CodeInvalid},
		{"event too large", big(herald.MaxEventSize), "", "at most 1048576", herald.CodeTooLarge},
		{"one of several too large", `[{"type":"t"},` + big(herald.MaxEventSize) + `]`, "[1]", "at most 1048576", herald.CodeTooLarge},
		{"a member's name too long to repeat", `{"type":"t","` + strings.Repeat("é", 5000) + `":1}`, strings.Repeat("é", 40) + "…", "no such member", herald.CodeInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := decodePublish([]byte(test.body))
			var e *herald.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v, want a *herald.Error", err)
			}
			if e.Code != test.code || e.Member != test.member || !strings.Contains(e.Message, test.text) {
				t.Errorf("%s about %q: %s\nwant %s about %q: …%s…", e.Code, e.Member, e.Message, test.code, test.member, test.text)
			}
			if !strings.HasPrefix(e.Message, e.Member) {
				t.Errorf("the text does not name %q: %s", e.Member, e.Message)
			}
			if len(e.Message) > 1000 {
				t.Errorf("a message of %d bytes", len(e.Message))
			}
		})
	}
}

func TestDataMayBeAsDeepAsIsSaid(t *testing.T) {
	n := maxDepth - 2 // the event and data
	body := `{"type":"t","data":{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	if _, _, err := decodePublish([]byte(body)); err != nil {
		t.Error(err)
	}
}

// FuzzDecodePublish checks that an accepted body has the meaning that encoding/json gives
// it, and keeps it when it is encoded again.
func FuzzDecodePublish(f *testing.F) {
	for _, seed := range []string{
		wholeEvent, `[{"type":"t"},{"type":"u","data":{}}]`, `[]`, `{"type":"t","data":{"a":{"b":[1e5,-0,true,null]}}}`,
		`{"type":"\u0000"}`, `{"type":"t","message":"\ud800"}`, `{"a":1,"a":2}`, "\"", "[1", "{\"type\":\"\xff\"}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		pubs, many, err := decodePublish(body)
		if err != nil {
			return
		}
		if want := asEncodingJSON(t, body, many); !cmp.Equal(want, pubs) {
			t.Fatalf("accepted %q as\n%+v, encoding/json says\n%+v", body, pubs, want)
		}
		again, _, err := decodePublish(encoded(t, pubs))
		if err != nil || !cmp.Equal(again, pubs) {
			t.Fatalf("%+v\nwritten anew is read as\n%+v, error %v", pubs, again, err)
		}
	})
}

// FuzzScan compares the cursor with encoding/json: it accepts what that accepts, but for bytes that are
// not UTF-8, equal names and deep nesting. What is not JSON is refused in the words of encoding/json.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		wholeEvent, ` { "a" : [ 1 , -0.5e+10 , true , false , null , "\u00e9\"\\\/\b\f\n\r\t" ] } `, `{"a":1,"\u0061":2}`, strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1),
		`{"a":1,}`, `[1,]`, `[,1]`, `{,}`, `{"a"}`, `{"a":}`, `{"a" 1}`, `{a:1}`, `[1 2]`, `{"a":1 "b":2}`, `[1}`, `{"a":1]`, `{}{}`, `[] x`, `nul`, `nulll`, `trUe`, `+1`, `01`, `-`, `-01`, `1.`, `.5`, `1e`, `1e+`, `1E5`, `0e0`,
		`1.5.5`, `"\u12g4"`, `"\u123`, `"\x"`, `"\`, `"`, "\"\n\"", "\"\x00\"", "\"\x7f\"", "\"\xff\"", "\x00", "", " ", "\v1", "\ufeff1", `"\ud800"`, `{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"i":10}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		wrong := checkJSON(body)
		for _, way := range []struct {
			name string
			read func() error
		}{
			{"skip", func() error { return read(body, (*cursor).skip) }},
			{"publish", func() error { _, _, err := decodePublish(body); return err }},
			{"data", func() error { _, err := ReadData(body); return err }},
			{"texts", func() error {
				return read(body, func(c *cursor) error {
					return c.object(func([]byte) error { _, err := c.text(0, 1000); return err })
				})
			}},
		} {
			name, err := way.name, way.read()
			switch {
			case wrong != nil && (err == nil || err.Error() != wrong.Error()):
				t.Errorf("%s of %q: %v, want %v", name, body, err, wrong)
			case wrong == nil && errors.Is(err, error(errMalformed)):
				t.Errorf("%s of %q: not JSON", name, body)
			case wrong == nil && name == "skip" && err != nil && !strings.Contains(err.Error(), "named twice") && !strings.Contains(err.Error(), "nest less"):
				t.Errorf("%s of %q: %v", name, body, err)
			}
		}
	})
}

// plainPublication is a publication for encoding/json.
type plainPublication struct {
	Type           string          `json:"type"`
	ClientID       uuid.UUID       `json:"clientId,omitzero"`
	CompanyID      uuid.UUID       `json:"companyId,omitzero"`
	ConnectionID   uuid.UUID       `json:"dataConnectionId,omitzero"`
	Data           json.RawMessage `json:"data,omitempty"`
	Message        string          `json:"message,omitempty"`
	OccurredAt     time.Time       `json:"occurredAt,omitzero"`
	IdempotencyKey string          `json:"idempotencyKey,omitempty"`
}

func asEncodingJSON(t *testing.T, body []byte, many bool) []herald.Publication {
	t.Helper()
	if !many {
		body = append(append([]byte{'['}, body...), ']')
	}
	var plain []plainPublication
	if err := json.Unmarshal(body, &plain); err != nil {
		t.Fatalf("accepted %q, which encoding/json refuses: %v", body, err)
	}
	pubs := make([]herald.Publication, len(plain))
	for i, p := range plain {
		e := herald.Event{Type: p.Type, ClientID: p.ClientID, CompanyID: p.CompanyID, ConnectionID: p.ConnectionID, Message: p.Message}
		if !p.OccurredAt.IsZero() {
			e.OccurredAt = p.OccurredAt.UTC()
		}
		if p.Data != nil && string(p.Data) != "null" {
			var compact bytes.Buffer
			if err := json.Compact(&compact, p.Data); err != nil {
				t.Fatal(err)
			}
			e.Data = compact.Bytes()
		}
		pubs[i] = herald.Publication{Event: e, IdempotencyKey: p.IdempotencyKey}
	}
	return pubs
}

func encoded(t *testing.T, pubs []herald.Publication) []byte {
	t.Helper()
	plain := make([]plainPublication, len(pubs))
	for i, p := range pubs {
		plain[i] = plainPublication{p.Type, p.ClientID, p.CompanyID, p.ConnectionID, p.Data, p.Message, p.OccurredAt, p.IdempotencyKey}
	}
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(plain); err != nil {
		t.Fatal(err)
	}
	return body.Bytes()
}

func BenchmarkDecodePublish(b *testing.B) {
	single := []byte(`{"type":"Data sync completed","clientId":"11111111-1111-4111-8111-111111111111","companyId":"22222222-2222-4222-8222-222222222222","dataConnectionId":"33333333-3333-4333-8333-333333333333","data":{"dataType":"invoices","datasetId":"44444444-4444-4444-8444-444444444444"}}`)
	hundred := append([]byte{'['}, bytes.Join(slices.Repeat([][]byte{single}, 100), []byte{','})...)
	hundred = append(hundred, ']')
	for name, body := range map[string][]byte{"single": single, "array of 100": hundred} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, _, err := decodePublish(body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("encoding/json "+name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				decoder := json.NewDecoder(bytes.NewReader(body))
				decoder.DisallowUnknownFields()
				var plain any = new(plainPublication)
				if body[0] == '[' {
					plain = new([]plainPublication)
				}
				if err := decoder.Decode(plain); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
