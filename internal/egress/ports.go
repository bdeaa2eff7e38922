package egress

import (
	"fmt"
	"strconv"
	"strings"
)

// Ports are those that receivers may have, as ranges. None are the default.
type Ports []PortRange

// PortRange is the ports from First to Last.
type PortRange struct{ First, Last uint16 }

// defaultPorts keep webhooks off well-known services that are not the web's: a line
// of HTTP means something to a mail server, too.
var defaultPorts = Ports{{80, 80}, {443, 443}, {1024, 65535}}

func (p Ports) allow(port uint16) bool {
	for _, r := range p {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// String is the ports as a person writes them.
func (p Ports) String() string {
	var texts []string
	for _, r := range p {
		switch {
		case r.First == r.Last:
			texts = append(texts, strconv.Itoa(int(r.First)))
		case r.Last == 65535:
			texts = append(texts, fmt.Sprintf("%d and above", r.First))
		default:
			texts = append(texts, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return strings.Join(texts, ", ")
}

// ParsePorts reads ports such as 443, or ranges such as 8000-8999.
func ParsePorts(values []string) (Ports, error) {
	var ports Ports
	for _, value := range values {
		first, last, isRange := strings.Cut(strings.TrimSpace(value), "-")
		if !isRange {
			last = first
		}
		from, err := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || from == 0 || from > to {
			return nil, fmt.Errorf("%q is neither a port nor a range of ports; write it as 443 or 8000-8999", value)
		}
		ports = append(ports, PortRange{uint16(from), uint16(to)})
	}
	return ports, nil
}
