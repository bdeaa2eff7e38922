//go:build !unix

package webhook

import "net"

// probe cannot look at an idle connection here. A request on one that the receiver has closed is made once
// more on a new one.
type probe struct{}

func (*probe) of(net.Conn) {}

func (*probe) silent() bool { return true }
