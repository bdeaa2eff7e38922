package main

import (
	"github.com/google/uuid"

	"herald/client"
	"herald/internal/cli"
)

// connection are the flags of every command that calls the service.
type connection struct {
	URL     string     `name:"url" help:"Address of the service." env:"HERALD_URL" default:"http://127.0.0.1:8080"`
	Key     string     `help:"API key: a client's, or the operator's for commands about clients." env:"HERALD_API_KEY" placeholder:"KEY"`
	KeyFile string     `help:"File with the value of --key." env:"HERALD_API_KEY_FILE" placeholder:"FILE" type:"path"`
	Output  cli.Format `short:"o" help:"Form of the output: table, json or jsonl." enum:"table,json,jsonl" default:"table"`
}

func (c *connection) client() (*client.API, error) {
	key, err := secretFrom("--key", c.Key, c.KeyFile)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, usageError("no API key: set HERALD_API_KEY or use --key, or name a file with --key-file")
	}
	made, err := client.New(c.URL, key)
	if err != nil {
		return nil, usageError("--url: %v", err)
	}
	return made, nil
}

// forClient is the flag of commands about one client, which the operator may make too.
type forClient struct {
	Client uuid.UUID `help:"With the operator's key: the client that it is about." placeholder:"ID"`
}

// of returns a service that is asked about the client, if there is one.
func (f forClient) of(service *client.API, err error) (*client.API, error) {
	if err != nil || f.Client == uuid.Nil {
		return service, err
	}
	return service.For(f.Client), nil
}

// paging are the flags of lists with numbered pages.
type paging struct {
	Page     int    `help:"Page, from 1." default:"1"`
	PageSize int    `help:"Results per page, at most 5000." default:"100"`
	Query    string `help:"Filter the list, as in \"type=Data sync completed\"." placeholder:"QUERY"`
	OrderBy  string `help:"Member to sort by, descending with a - in front: --order-by=-MEMBER." placeholder:"MEMBER"`
}

func (p paging) options() client.ListOptions {
	return client.ListOptions{Page: p.Page, PageSize: p.PageSize, Query: p.Query, OrderBy: p.OrderBy}
}
