package main

import (
	"context"
	"fmt"
	"time"

	"herald"
	"herald/internal/cli"
)

// statusCommand is `herald status`; it needs the operator's key.
type statusCommand struct{ connection }

var statusFields = []cli.Column[herald.Status]{
	{Head: "VERSION", Cell: func(s herald.Status) string { return s.Version }},
	{Head: "NODES", Cell: func(s herald.Status) string {
		if s.Nodes == 0 {
			return ""
		}
		return fmt.Sprint(s.Nodes)
	}},
	{Head: "PENDING", Cell: func(s herald.Status) string { return pendingOf(s.Backlog) }},
	{Head: "OLDEST DUE", Cell: func(s herald.Status) string {
		switch {
		case s.Backlog == nil:
			return ""
		case s.Backlog.OldestDue == nil:
			return "none"
		}
		return fmt.Sprintf("%s, for %v", cli.Time(*s.Backlog.OldestDue), s.At.Sub(*s.Backlog.OldestDue).Round(time.Second))
	}},
	{Head: "DATABASE", Cell: func(s herald.Status) string {
		if s.Database == nil {
			return "does not answer"
		}
		return fmt.Sprintf("%s, %s", s.Database.Kind, sizeOf(s.Database.Bytes))
	}},
	{Head: "GROWTH IN 24 H", Cell: func(s herald.Status) string {
		if s.Database == nil {
			return ""
		}
		return grown(s.Database.Day)
	}},
	{Head: "GROWTH IN 7 D", Cell: func(s herald.Status) string {
		if s.Database == nil {
			return ""
		}
		return grown(s.Database.Week)
	}},
	{Head: "LAST BACKUP", Cell: func(s herald.Status) string {
		switch {
		case s.LastBackup != nil:
			return cli.Time(*s.LastBackup)
		case s.Database == nil:
			return ""
		case s.Database.Kind == "SQLite":
			return "none"
		}
		return "with PostgreSQL's own tools"
	}},
	{Head: "MAIL SERVER", Cell: func(s herald.Status) string {
		if s.MailServer == "" {
			return "none: mails fail"
		}
		return s.MailServer
	}},
}

func pendingOf(b *herald.Backlog) string {
	if b == nil {
		return ""
	}
	more := ""
	if b.AtLeast {
		more = "more than "
	}
	return fmt.Sprintf("%s%d: %d ready, %d waiting, %d held by a node", more, b.Pending, b.Ready, b.Waiting, b.Held)
}

// grown shows how much larger the database is, with a sign.
func grown(g *herald.Growth) string {
	switch {
	case g == nil:
		return "not known yet"
	case g.Bytes < 0:
		return fmt.Sprintf("-%s since %s", sizeOf(-g.Bytes), cli.Time(g.Since))
	}
	return fmt.Sprintf("+%s since %s", sizeOf(g.Bytes), cli.Time(g.Since))
}

// sizeOf shows a number of bytes.
func sizeOf(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

var slowColumns = []cli.Column[herald.SlowReceiver]{
	{Head: "SLOW RECEIVER", Cell: func(r herald.SlowReceiver) string { return r.Receiver }},
	{Head: "CLIENT", Cell: func(r herald.SlowReceiver) string { return cli.ID(r.ClientID) }},
	{Head: "PENDING", Cell: func(r herald.SlowReceiver) string { return fmt.Sprint(r.Waiting) }},
	{Head: "SINCE", Cell: func(r herald.SlowReceiver) string { return cli.Time(r.Since) }},
}

// Run shows the status.
func (c *statusCommand) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	s, err := service.Status(ctx)
	if err != nil {
		return err
	}
	if c.Output != cli.Table {
		return cli.WriteOne(out.stdout, c.Output, nil, s)
	}
	if len(s.Attention) == 0 {
		fmt.Fprintln(out.stdout, "Nothing needs attention.")
	} else {
		fmt.Fprintln(out.stdout, "Needs attention:")
	}
	for _, line := range s.Attention {
		fmt.Fprintln(out.stdout, "  -", cli.Clean(line))
	}
	fmt.Fprintln(out.stdout)
	if err := cli.WriteOne(out.stdout, c.Output, statusFields, s); err != nil || len(s.SlowReceivers) == 0 {
		return err
	}
	fmt.Fprintln(out.stdout)
	return cli.Write(out.stdout, out.stderr, c.Output, slowColumns, s.SlowReceivers)
}
