package webhook

// OnlyTransport makes the sender use http.Transport for every request.
func OnlyTransport(s *Sender) *Sender {
	s.direct = false
	return s
}
