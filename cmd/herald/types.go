package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"herald"
	"herald/client"
	"herald/internal/cli"
)

// typesCommand is `herald types`.
type typesCommand struct {
	List   typesList   `cmd:"" help:"List the types of events."`
	Get    typesGet    `cmd:"" help:"Show a type of event."`
	Save   typesSave   `cmd:"" help:"Add a type of event, or change one that was added (operator)."`
	Delete typesDelete `cmd:"" help:"Delete a type of event that was added (operator)."`
}

var typeColumns = []cli.Column[client.EventType]{
	{Head: "NAME", Cell: func(t client.EventType) string { return t.Name }},
	{Head: "COMPANY", Cell: func(t client.EventType) string { return yesNo(t.Company) }},
	{Head: "CONNECTION", Cell: func(t client.EventType) string { return yesNo(t.Connection) }},
	{Head: "DATA", Cell: func(t client.EventType) string { return strings.Join(t.Required, ", ") }},
}

var typeFields = append(typeColumns[:len(typeColumns):len(typeColumns)],
	cli.Column[client.EventType]{Head: "LABEL", Cell: func(t client.EventType) string { return t.Label }},
	cli.Column[client.EventType]{Head: "SPELLINGS", Cell: func(t client.EventType) string { return strings.Join(t.Spellings, ", ") }},
	cli.Column[client.EventType]{Head: "MESSAGE", Cell: func(t client.EventType) string { return t.Message }},
	cli.Column[client.EventType]{Head: "SCHEMA", Cell: func(t client.EventType) string { return string(t.Schema) }},
	cli.Column[client.EventType]{Head: "EXAMPLE", Cell: func(t client.EventType) string { return string(t.Example) }})

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

type typesList struct{ connection }

// Run lists the types of events.
func (c *typesList) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	types, err := service.EventTypes(ctx)
	if err != nil {
		return err
	}
	return cli.Write(out.stdout, out.stderr, c.Output, typeColumns, types)
}

type typesGet struct {
	connection
	Name string `arg:"" predictor:"type" help:"The type's name, in any spelling."`
}

// Run shows a type of event.
func (c *typesGet) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	kind, err := service.EventType(ctx, c.Name)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, typeFields, kind)
}

type typesSave struct {
	connection
	Name       string  `arg:"" predictor:"type" help:"The type's name."`
	File       string  `help:"JSON file that describes the whole type, as types get -o json shows it; - reads standard input. Other flags replace its members." placeholder:"FILE"`
	Label      *string `help:"What people read; left out, the name." placeholder:"TEXT"`
	Company    *bool   `negatable:"" help:"Whether an event must name a company."`
	Connection *bool   `negatable:"" help:"Whether an event must name a data connection."`
	Schema     string  `help:"JSON Schema that data must meet; @FILE reads a file, null removes it." placeholder:"JSON"`
	Message    *string `help:"Wording of the alert's message; {member} stands for a member of the data." placeholder:"TEXT"`
	Example    string  `help:"Data that the schema accepts; @FILE reads a file, null removes it." placeholder:"JSON"`
}

// Run saves a type of event. Without --file it changes only what the flags say.
func (c *typesSave) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	var spec herald.EventType
	if c.File != "" {
		spec, err = c.read(out.stdin)
	} else {
		spec, err = c.present(ctx, service)
	}
	if err != nil {
		return err
	}
	if err := c.apply(&spec); err != nil {
		return err
	}
	saved, err := service.PutEventType(ctx, spec)
	if err != nil {
		return err
	}
	return cli.WriteOne(out.stdout, c.Output, typeFields, saved)
}

// present returns the type as it is, or a new one. The service refuses changes of a built-in type.
func (c *typesSave) present(ctx context.Context, service *client.API) (herald.EventType, error) {
	kind, err := service.EventType(ctx, c.Name)
	switch {
	case err == nil && kind.Name == c.Name && !kind.BuiltIn:
		return kind.EventType, nil
	case err != nil && cli.ExitCode(err) != cli.NotFound:
		return herald.EventType{}, err
	}
	return herald.EventType{Name: c.Name}, nil
}

// read reads the whole type from a file.
func (c *typesSave) read(stdin io.Reader) (herald.EventType, error) {
	text, err := readInput("--file", c.File, stdin)
	if err != nil {
		return herald.EventType{}, err
	}
	var kind client.EventType
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields() // a misspelt member would be lost
	if err := decoder.Decode(&kind); err != nil {
		return kind.EventType, usageError("--file %s does not describe a type: %v", c.File, err)
	}
	if kind.Name != "" && kind.Name != c.Name {
		return kind.EventType, usageError("--file %s has the name %q, and the command line %q", c.File, kind.Name, c.Name)
	}
	kind.Name = c.Name
	return kind.EventType, nil
}

// apply sets the members that flags name.
func (c *typesSave) apply(spec *herald.EventType) error {
	for _, text := range []struct{ from, into *string }{{c.Label, &spec.Label}, {c.Message, &spec.Message}} {
		if text.from != nil {
			*text.into = *text.from
		}
	}
	for _, flag := range []struct{ from, into *bool }{{c.Company, &spec.Company}, {c.Connection, &spec.Connection}} {
		if flag.from != nil {
			*flag.into = *flag.from
		}
	}
	for _, part := range []struct {
		name, text string
		into       *json.RawMessage
	}{{"--schema", c.Schema, &spec.Schema}, {"--example", c.Example, &spec.Example}} {
		if part.text == "" {
			continue
		}
		value := []byte(part.text)
		if file, found := strings.CutPrefix(part.text, "@"); found {
			var err error
			if value, err = readInput(part.name, file, nil); err != nil {
				return err
			}
		}
		if !json.Valid(value) {
			return usageError("%s: %.60q is not JSON", part.name, value)
		}
		*part.into = value
		if string(bytes.TrimSpace(value)) == "null" {
			*part.into = nil
		}
	}
	return nil
}

type typesDelete struct {
	connection
	confirmation
	Name string `arg:"" predictor:"type" help:"The type's name, in any spelling."`
}

// Run deletes a type of event.
func (c *typesDelete) Run(ctx context.Context, out *streams) error {
	service, err := c.client()
	if err != nil {
		return err
	}
	if err := c.confirm(ctx, out, fmt.Sprintf("Delete the event type %q?", c.Name)); err != nil {
		return err
	}
	return service.DeleteEventType(ctx, c.Name)
}

// readInput reads a file that a flag names; - is standard input. It may have a megabyte.
func readInput(flag, name string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name != "-" || stdin == nil {
		file, err := os.Open(name)
		if err != nil {
			return nil, usageError("%s: %v", flag, err)
		}
		defer file.Close() //nolint:errcheck // it was only read
		from = file
	}
	text, err := io.ReadAll(io.LimitReader(from, herald.MaxEventSize+1))
	if err != nil {
		return nil, usageError("%s: read %s: %v", flag, name, err)
	}
	if len(text) > herald.MaxEventSize {
		return nil, usageError("%s: %s has more than %d bytes", flag, name, herald.MaxEventSize)
	}
	return text, nil
}
