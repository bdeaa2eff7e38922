package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
)

// confirmation is the flag of the commands that delete.
type confirmation struct {
	Yes bool `short:"y" help:"Do not ask. Needed where there is no terminal to ask at."`
}

// errDeclined is the error after a no.
var errDeclined = errors.New("nothing was deleted")

// confirm asks whether to go on, unless --yes is given. The question says what would be deleted.
// Without a terminal nobody can answer, so the error asks for --yes.
func (c confirmation) confirm(ctx context.Context, out *streams, question string) error {
	if c.Yes {
		return nil
	}
	if file, ok := out.stdin.(*os.File); !ok || !isTerminal(file) {
		return usageError("this deletes for good, and there is no terminal to ask at: add --yes")
	}
	if _, err := fmt.Fprintf(out.stderr, "%s [y/N] ", question); err != nil {
		return err
	}
	answer := make(chan string, 1)
	go func() { // it outlives an interrupted question; the process ends then
		line, _ := bufio.NewReader(out.stdin).ReadString('\n') // an end of the input is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case text := <-answer:
		if text == "y" || text == "yes" {
			return nil
		}
		return errDeclined
	}
}
