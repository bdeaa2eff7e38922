package portal

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// assetFiles are styles, scripts and icons, with the libraries in assets/vendor and their licences.
//
//go:embed assets
var assetFiles embed.FS

// assetPath is where the assets are. The version in their address is a hash of all of them, so
// that browsers keep them for good, and a module finds the others beside it.
const assetPath = Path + "assets/"

// asset is one file, as it is sent.
type asset struct {
	kind         string
	plain, small []byte // small is compressed
}

type assets struct {
	version string
	files   map[string]asset
}

var assetKinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml", ".txt": "text/plain; charset=utf-8",
}

func loadAssets() (*assets, error) {
	a, all := &assets{files: make(map[string]asset)}, sha256.New()
	err := fs.WalkDir(assetFiles, "assets", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := assetFiles.ReadFile(file)
		if err != nil {
			return err
		}
		kind, name := assetKinds[path.Ext(file)], path.Base(file)
		if kind == "" || a.files[name].plain != nil {
			return fmt.Errorf("asset %s: no known kind of file, or a name twice", file)
		}
		if path.Dir(file) == "assets" { // not in vendor
			text = withoutIndents(text)
			if path.Ext(file) == ".css" {
				text = []byte(withoutBlanks.Replace(string(text)))
			}
		}
		fmt.Fprintf(all, "%s %d ", name, len(text))
		all.Write(text)
		var small bytes.Buffer
		zip := gzip.NewWriter(&small)
		_, _ = zip.Write(text) // a buffer takes everything
		if err := zip.Close(); err != nil {
			return err
		}
		a.files[name] = asset{kind, text, small.Bytes()}
		return nil
	})
	a.version = hex.EncodeToString(all.Sum(nil)[:8])
	return a, err
}

// withoutIndents returns a text without the blanks at the start of its lines and without lines that are comments:
// they are for those who read the source. No text in our scripts goes over several lines.
func withoutIndents(text []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		line = bytes.TrimLeft(line, " ")
		if len(line) > 1 && !bytes.HasPrefix(line, []byte("//")) {
			b.Write(line)
		}
	}
	return b.Bytes()
}

// withoutBlanks leaves out the blanks beside the marks of a style sheet. No text in ours has such marks.
var withoutBlanks = strings.NewReplacer(" { ", "{", " {\n", "{", " }", "}", "; ", ";", ": ", ":", ", ", ",", " > ", ">")

// path returns the address of an asset.
func (a *assets) path(name string) (string, error) {
	if _, known := a.files[name]; !known {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return assetPath + a.version + "/" + name, nil
}

// serve answers with an asset. While nodes of two versions run side by side, a page of one may ask the
// other for its assets: that one gives its own, and the browser does not keep them.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	found, known := a.files[r.PathValue("name")]
	if !known {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h.Set("Content-Type", found.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox") // of an SVG that is opened by itself
	if r.PathValue("version") == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-store")
	}
	text := found.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		text = found.small
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = w.Write(text) // fails only when the reader has gone
}
