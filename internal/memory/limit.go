package memory

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// CgroupLimit returns how much memory the cgroup of this process may use, in bytes: the least of
// its own limit and those of the groups around it. It returns 0 if there is no limit.
func CgroupLimit() int64 { return cgroupLimit(os.DirFS("/")) }

// noLimit is what cgroup v1 shows for no limit: the largest number of whole pages, or about that.
const noLimit = 1 << 60

// cgroupLimit reads proc/self/cgroup, which names the group under v2 as "0::/path" and under v1 as
// "9:memory:/path". A container often sees its own group as the root of the tree, so a path that
// is not there is looked for from the root.
func cgroupLimit(root fs.FS) int64 {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	least := int64(0)
	take := func(file string) {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // v2 has "max" for none
		if err == nil && n > 0 && n < noLimit && (least == 0 || n < least) {
			least = n
		}
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		tree, name := "sys/fs/cgroup", "memory.max"
		if parts[0] != "0" {
			if !strings.Contains(","+parts[1]+",", ",memory,") {
				continue
			}
			tree, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		for group := path.Clean("/" + parts[2]); ; group = path.Dir(group) {
			take(path.Join(tree, group, name))
			if group == "/" {
				break
			}
		}
	}
	return least
}
