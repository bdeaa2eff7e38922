package mail

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"herald"
	"herald/internal/work"
)

var update = flag.Bool("update", false, "write the golden files")

// parse parses a message into its headers and its decoded parts by type.
func parse(t *testing.T, message []byte) (header netmail.Header, parts map[string]string) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("Content-Type %s, %v", kind, err)
	}
	parts = make(map[string]string)
	reader := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return m.Header, parts
		}
		if err != nil {
			t.Fatal(err)
		}
		if encoding := part.Header.Get("Content-Transfer-Encoding"); encoding != "quoted-printable" {
			t.Errorf("Content-Transfer-Encoding %s", encoding)
		}
		text, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
}

// TestMessage sends a message to a real server and parses it.
func TestMessage(t *testing.T) {
	s := newServer(t, nil)
	from := sender(t, "smtp://"+s.address)
	if result := from.Send(t.Context(), request("joe@bücher.example")); result.Status != 250 {
		t.Fatalf("%+v", result)
	}
	last := s.got[len(s.got)-1]
	if last.to != "joe@xn--bcher-kva.example" || last.from != "alerts@herald.example" {
		t.Errorf("from %s to %s", last.from, last.to)
	}
	header, parts := parse(t, last.message)
	var decoder mime.WordDecoder
	subject, err := decoder.DecodeHeader(header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"Subject": subject}
	for _, name := range []string{"From", "To", "Message-ID", "Date", "Auto-Submitted", "User-Agent", "MIME-Version", "List-Unsubscribe", "List-Unsubscribe-Post"} {
		got[name] = header.Get(name)
	}
	want := map[string]string{
		"Subject": "Data sync completed, company 8a210b68-6988-11ed-a1eb-0242ac120002", "From": `"Herald" <alerts@herald.example>`, "To": "<joe@xn--bcher-kva.example>",
		"Message-ID": "<019ab0c1-0000-7000-8000-000000000101@herald.example>", "Date": "Mon, 23 Nov 2026 22:00:01 +0000",
		"Auto-Submitted": "auto-generated", "User-Agent": "Herald/test", "MIME-Version": "1.0",
		"List-Unsubscribe": "<https://herald.example/unsubscribe/" + token + ">", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	golden(t, parts, "message")
}

func TestSubjectSaysTest(t *testing.T) {
	s := newServer(t, nil)
	from := sender(t, "smtp://"+s.address)
	r := request("joe@acme.example")
	r.DeliveryID = herald.AlertID(herald.NewIDs(time.Now).NewTest(), 1)
	if result := from.Send(t.Context(), r); result.Status != 250 {
		t.Fatalf("%+v", result)
	}
	header, _ := parse(t, s.got[len(s.got)-1].message)
	if got := header.Get("Subject"); !strings.HasPrefix(got, "Test: Data sync completed") {
		t.Errorf("Subject %q", got)
	}
}

// golden compares the parts of a message with files.
func golden(t *testing.T, parts map[string]string, name string) {
	t.Helper()
	for kind, file := range map[string]string{"text/plain": name + ".txt", "text/html": name + ".html"} {
		golden := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(golden, []byte(parts[kind]), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), parts[kind]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

// TestDigest sends a digest of 40 alerts, with a link to all of them or with all ids.
func TestDigest(t *testing.T) {
	s := newServer(t, nil)
	from := sender(t, "smtp://"+s.address)
	r := request("joe@acme.example")
	for i := range 40 {
		g := work.DigestEntry{DeliveryID: herald.AlertID(uuid.MustParse(fmt.Sprintf("019ab0c1-0000-7000-8000-%06d000000", i)), 1), Type: "Sync Failed", Message: fmt.Sprintf("Sync %d <failed>", i)}
		if i%4 > 0 {
			g.CompanyID = uuid.MustParse(fmt.Sprintf("8a210b68-6988-11ed-a1eb-%012d", i))
		}
		r.Digest = append(r.Digest, g)
	}
	for _, name := range []string{"digest", "digest-ids"} {
		if result := from.Send(t.Context(), r); result.Status != 250 {
			t.Fatalf("%+v", result)
		}
		header, parts := parse(t, s.got[len(s.got)-1].message)
		golden(t, parts, name)
		if subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject")); subject != "40 alerts for Acme & Söhne" || err != nil {
			t.Errorf("subject %q, %v", subject, err)
		}
		from.PublicURL, from.Unsubscribe = "", nil
	}
}

// TestNothingCanBeInjected: texts of clients and publishers add no header, recipient or HTML.
func TestNothingCanBeInjected(t *testing.T) {
	s := newServer(t, nil)
	from := sender(t, "smtp://"+s.address)
	r := request("joe@acme.example")
	r.Body = []byte(`{"ClientName":"<b>A</b>\r\nBcc: x@evil.example","CompanyId":"c\r\nBcc: x@evil.example","RuleType":"type\r\nBcc: x@evil.example\r\n\r\n<script>",` +
		`"Message":"<script>alert(1)</script>\r\n.\r\nMAIL FROM:<x@evil.example>","Data":{"<i>":"<img src=x onerror=alert(1)>","\r\nBcc":"\u0000"}}`)
	if result := from.Send(t.Context(), r); result.Status != 250 {
		t.Fatalf("%+v", result)
	}
	if len(s.got) != 1 || s.got[0].to != "joe@acme.example" {
		t.Fatalf("the server has %+v", s.got)
	}
	header, parts := parse(t, s.got[0].message)
	if header.Get("Bcc") != "" {
		t.Errorf("headers: %v", header)
	}
	for _, bad := range []string{"<script>", "<img", "<b>", "<i>"} {
		if strings.Contains(parts["text/html"], bad) {
			t.Errorf("the HTML has %s", bad)
		}
	}
	for _, address := range []string{"joe@acme.example\r\nRCPT TO:<x@evil.example>", "joe@acme.example>, <x@evil.example", "Joe <joe@acme.example>", "", "joe", "joe@acme .example"} {
		if box, err := herald.ParseMailbox(address); err == nil {
			t.Errorf("%q is taken as the mailbox %q", address, box)
		}
	}
}

// TestBodyInPartsIsTheSameMail: the data of an event is shared by its mails, so it comes apart.
func TestBodyInPartsIsTheSameMail(t *testing.T) {
	whole, parted := request("ops@acme.example"), request("ops@acme.example")
	start, data, found := bytes.Cut(body, []byte(`"Data":`))
	if !found {
		t.Fatal("the body has no data")
	}
	parted.Body = append(bytes.Clone(start), `"Data":`...)
	parted.Data = data[:len(data)-1]
	want, err := whole.alert()
	if err != nil {
		t.Fatal(err)
	}
	got, err := parted.alert()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(alert{})); diff != "" {
		t.Errorf("alert (-whole +parts):\n%s", diff)
	}
}
