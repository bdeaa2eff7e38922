package main

import (
	"fmt"

	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// moreAfter is the line that says where the rest of a list is; empty if there is none.
func moreAfter(next uuid.UUID) string {
	if next == uuid.Nil {
		return ""
	}
	return "there are more: add --after " + next.String()
}

// writeNumbered writes a page of a numbered list, and says if there are more.
func writeNumbered[T any](out *streams, f cli.Format, columns []cli.Column[T], l client.List[T]) error {
	err := cli.Write(out.stdout, out.stderr, f, columns, l.Results)
	if err == nil && l.PageNumber*l.PageSize < l.TotalResults {
		_, err = fmt.Fprintf(out.stderr, "there are more: %d in all; add --page %d\n", l.TotalResults, l.PageNumber+1)
	}
	return err
}
