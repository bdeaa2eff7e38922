package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// examples are the command lines that the help of a command ends with, without "herald". Every command
// has some; a test parses them.
var examples = map[string][]string{
	"serve":                {`serve --data /var/lib/herald`, `serve --listen :8080 --database postgres://herald@db/herald --secret-key-file /etc/herald/secret.key`},
	"migrate":              {`migrate --data /var/lib/herald`},
	"healthcheck":          {`healthcheck`, `healthcheck --listen :8443 --tls-cert /etc/herald/tls.crt`},
	"status":               {`status`, `status -o json`},
	"check":                {`check --data /var/lib/herald`},
	"backup":               {`backup /var/backups`},
	"restore":              {`restore /var/backups/herald-20261128T030000Z.tar --data /var/lib/herald`},
	"secrets rotate-key":   {`secrets rotate-key --data /var/lib/herald`},
	"secrets reset":        {`secrets reset --data /var/lib/herald`},
	"dev":                  {`dev`, `dev --listen 127.0.0.1:9080 --inbox 127.0.0.1:9081`},
	"inbox list":           {`inbox list`, `inbox list --follow`},
	"inbox answer":         {`inbox answer 503 --retry-after 30s`, `inbox answer --hang`, `inbox answer 200`},
	"inbox clear":          {`inbox clear`},
	"trigger":              {`trigger "Data sync completed"`, `trigger "Sync Failed" --data '{"syncId":"s-1","syncType":"Expense","FailureStage":"Pushing"}'`},
	"tail":                 {`tail`, `tail --failed --since 2h`},
	"rules list":           {`rules list`, `rules list --query "type=Sync Failed" -o json`},
	"rules get":            {`rules get 019ab0c1-1111-7111-8111-111111111111`},
	"rules create":         {`rules create "Sync Failed" --webhook https://acme.example/hook`, `rules create "Data sync completed" --email ops@acme.example`},
	"rules preview":        {`rules preview "Sync Failed" --company 8a210b68-6988-11ed-a1eb-0242ac120002`},
	"rules test":           {`rules test 019ab0c1-1111-7111-8111-111111111111 --wait`, `rules test 019ab0c1-1111-7111-8111-111111111111 --company 8a210b68-6988-11ed-a1eb-0242ac120002`},
	"rules update":         {`rules update 019ab0c1-1111-7111-8111-111111111111 --webhook https://acme.example/new`, `rules update 019ab0c1-1111-7111-8111-111111111111 "Sync Completed" --no-email`},
	"rules delete":         {`rules delete 019ab0c1-1111-7111-8111-111111111111`},
	"events list":          {`events list --limit 10`},
	"events get":           {`events get 019ab0c1-2222-7333-8444-555555000000`},
	"events why":           {`events why 019ab0c1-2222-7333-8444-555555000000`},
	"events publish":       {`events publish "Rate Limit Reset" --data '{"ResetReason":"a new day"}' --idempotency-key 2026-11-23`, `events publish "Sync Failed" --company 8a210b68-6988-11ed-a1eb-0242ac120002 --data - < data.json`},
	"alerts list":          {`alerts list`, `alerts list --company 8a210b68-6988-11ed-a1eb-0242ac120002`},
	"alerts get":           {`alerts get 019ab0c1-2222-7333-8444-555555000100`},
	"deliveries list":      {`deliveries list --state failed --since 2h`, `deliveries list --receiver https://acme.example/hook -o json`, `deliveries list --client 019ab0c1-0000-7111-8111-111111111111`},
	"deliveries get":       {`deliveries get 019ab0c1-2222-7333-8444-555555000100 --body`},
	"deliveries why":       {`deliveries why 019ab0c1-2222-7333-8444-555555000100`},
	"deliveries redeliver": {`deliveries redeliver 019ab0c1-2222-7333-8444-555555000100`},
	"deliveries recover":   {`deliveries recover --since 2h --dry-run`, `deliveries recover --since 2h --receiver https://acme.example/hook`},
	"deliveries retry":     {`deliveries retry 019ab0c1-2222-7333-8444-555555000100`},
	"deliveries cancel":    {`deliveries cancel 019ab0c1-2222-7333-8444-555555000100`},
	"stats":                {`stats --since 7d`, `stats --by hour --receiver https://acme.example/hook -o json`},
	"issues list":          {`issues list`, `issues list --state ended --receiver https://acme.example/hook`},
	"issues show":          {`issues show 019ab0c1-4444-7111-8111-111111111111`},
	"issues acknowledge":   {`issues acknowledge 019ab0c1-4444-7111-8111-111111111111 --note "They deploy at nine."`},
	"notifications get":    {`notifications get`},
	"notifications set":    {`notifications set --after-minutes 10 --email ops@acme.example`, `notifications set --after-minutes 30 --after-deliveries 100 --webhook https://acme.example/status`},
	"notifications off":    {`notifications off`},
	"profile get":          {`profile get`},
	"profile set":          {`profile set --auth-basic-file credentials.txt`, `profile set --auth-bearer - < token.txt`, `profile set --name "Acme Ltd" --no-auth`},
	"types list":           {`types list`},
	"types get":            {`types get "Sync Failed"`},
	"types save":           {`types save "Invoice paid" --company --message "Invoice {number} is paid"`, `types save "Invoice paid" --file type.json`},
	"types delete":         {`types delete "Invoice paid"`},
	"clients list":         {`clients list`},
	"clients get":          {`clients get 019ab0c1-0000-7111-8111-111111111111`},
	"clients create":       {`clients create "Acme"`},
	"clients delete":       {`clients delete 019ab0c1-0000-7111-8111-111111111111`},
	"keys list":            {`keys list`, `keys list --client 019ab0c1-0000-7111-8111-111111111111`},
	"keys create":          {`keys create "reports" --role analyst`},
	"keys delete":          {`keys delete 019ab0c1-3333-7111-8111-111111111111`},
	"portal-link":          {`portal-link 019ab0c1-0000-7111-8111-111111111111`, `portal-link 019ab0c1-0000-7111-8111-111111111111 --role analyst --path "/deliveries?state=failed"`},
	"keys sign-out":        {`keys sign-out`},
	"unsubscribed list":    {`unsubscribed list`},
	"unsubscribed delete":  {`unsubscribed delete ann@acme.example`},
	"audit":                {`audit --limit 20`},
	"completion":           {`completion bash > ~/.local/share/bash-completion/completions/herald`},
	"version":              {`version`},
	"help":                 {`help deliveries why`},
}

// examplesOf returns the examples of a command. A group of commands has the first of each.
func examplesOf(node *kong.Node) []string {
	if own := examples[node.Path()]; own != nil {
		return own
	}
	if node.Type == kong.ApplicationNode {
		return []string{`dev`, `rules create "Sync Failed" --webhook https://acme.example/hook`, `trigger "Sync Failed"`, `deliveries list --state failed --since 2h`}
	}
	var all []string
	for _, child := range node.Children {
		if own := examplesOf(child); len(own) > 0 {
			all = append(all, own[0])
		}
	}
	return all
}

// helpWithExamples prints kong's help, and examples below it.
func helpWithExamples(options kong.HelpOptions, ctx *kong.Context) error {
	showAllVariables(ctx.Kong)
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	node := ctx.Selected()
	if node == nil {
		node = ctx.Model.Node
	}
	shown := examplesOf(node)
	if len(shown) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(ctx.Stdout, "\nExamples:\n  herald %s\n", strings.Join(shown, "\n  herald "))
	return err
}
