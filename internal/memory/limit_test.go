package memory

import (
	"testing"
	"testing/fstest"
)

func TestLimitOfTheCgroup(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":                 {nil, 0},
		"v2":                   {map[string]string{"proc/self/cgroup": "0::/system.slice/herald.service\n", "sys/fs/cgroup/system.slice/herald.service/memory.max": "2147483648\n"}, 2 << 30},
		"v2 without a limit":   {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, 0},
		"v2, around it":        {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "1000000\n", "sys/fs/cgroup/a/b/memory.max": "max\n"}, 1_000_000},
		"v2, the least":        {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/memory.max": "3000000\n", "sys/fs/cgroup/a/b/memory.max": "2000000\n"}, 2_000_000},
		"v2 in a container":    {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000000\n"}, 1_000_000},
		"v2, path not there":   {map[string]string{"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "1000000\n"}, 1_000_000},
		"v1":                   {map[string]string{"proc/self/cgroup": "12:cpu,cpuacct:/\n9:memory:/docker/x\n0::/\n", "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "500000000\n"}, 500_000_000},
		"v1 in a container":    {map[string]string{"proc/self/cgroup": "9:memory:/docker/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "500000000\n"}, 500_000_000},
		"v1 without a limit":   {map[string]string{"proc/self/cgroup": "9:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		"not readable as text": {map[string]string{"proc/self/cgroup": "x\n\n0:\n", "sys/fs/cgroup/memory.max": "many\n"}, 0},
	} {
		tree := fstest.MapFS{}
		for file, text := range test.files {
			tree[file] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := cgroupLimit(tree); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
