package devinbox_test

import (
	"encoding/json"
	"net"
	"net/http/httptest"
	"net/smtp"
	"testing"

	"herald/internal/devinbox"
)

func TestInboxTakesMail(t *testing.T) {
	notified := make(chan devinbox.Received, 2)
	box := devinbox.New(func(r devinbox.Received) { notified <- r })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- box.ServeMail(listener) }()
	for _, message := range []string{
		"Subject: =?utf-8?q?Caf=C3=A9?=\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=UTF-8\r\n" +
			"Content-Transfer-Encoding: quoted-printable\r\n\r\n=C3=A9t=C3=A9\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n",
		"Subject: Plain\r\n\r\nas it is\r\n",
	} {
		if err := smtp.SendMail(listener.Addr().String(), nil, "herald@localhost", []string{"a@acme.example"}, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct{ subject, body string }{{"Café", "été"}, {"Plain", "as it is\n"}} {
		r := <-notified
		var text string
		if err := json.Unmarshal(r.Body, &text); err != nil || text != want.body || r.Headers.Get("Subject") != want.subject || r.To != "a@acme.example" {
			t.Errorf("%+v (%v), want %+v", r, err, want)
		}
	}
	w := httptest.NewRecorder()
	box.ServeHTTP(w, httptest.NewRequest("GET", "/inbox", nil))
	var shown struct{ Results []devinbox.Received }
	if err := json.Unmarshal(w.Body.Bytes(), &shown); err != nil || len(shown.Results) != 2 {
		t.Errorf("%d are shown, %v", len(shown.Results), err)
	}
	listener.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
