//go:build !unix

package secret

import "os"

// giveTo does nothing: a file has its directory's permissions here.
func giveTo(*os.File, os.FileInfo) error { return nil }
