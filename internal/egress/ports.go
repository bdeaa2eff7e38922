package egress

import (
	"fmt"
	"strconv"
	"strings"
)

// Ports are ranges of the ports that receivers may have.
type Ports []PortRange

// PortRange is the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// defaultPorts exclude the well-known ports other than HTTP's. A mail server, for example,
// can take a line of an HTTP request for a command.
var defaultPorts = Ports{{80, 80}, {443, 443}, {1024, 65535}}

func (p Ports) allow(port uint16) bool {
	for _, r := range p {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// String lists the ports for a person.
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

// ParsePorts parses ports such as 443, and ranges such as 8000-8999.
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
