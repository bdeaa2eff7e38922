// Package deps is temporary.
package deps

import (
	_ "code.dny.dev/ssrf"
	_ "github.com/alecthomas/kong"
	_ "github.com/danielgtaylor/huma/v2"
	_ "github.com/danielgtaylor/huma/v2/adapters/humago"
	_ "github.com/gofrs/flock"
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/pressly/goose/v3"
	_ "github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/santhosh-tekuri/jsonschema/v6"
	_ "github.com/willabides/kongplete"
	_ "go.uber.org/goleak"
	_ "modernc.org/sqlite"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/net/http2"
	_ "golang.org/x/net/idna"
)
