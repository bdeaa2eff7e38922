package fairqueue

import "testing"

// TestTakesSaysWhetherAllFindRoom compares takes with taking one by one, the lane's part last, for all
// small numbers.
func TestTakesSaysWhetherAllFindRoom(t *testing.T) {
	for _, total := range []int{1, 9, 24, 40} {
		for client := range total + 1 {
			for lane := range client + 1 {
				for taken := client; taken <= total; taken++ {
					for all := range 12 {
						for part := 1; part <= all; part++ {
							want := oneByOne(share{total, taken}, client, lane, all, part)
							if got := (share{total, taken}).takes(client, lane, all, part); got != want {
								t.Fatalf("of %d, with %d taken, %d by the client and %d by the lane: takes %d, %d of them in the lane: %v, want %v",
									total, taken, client, lane, all, part, got, want)
							}
						}
					}
				}
			}
		}
	}
}

func oneByOne(s share, client, lane, all, part int) bool {
	for n := range all {
		ofLane := n >= all-part
		if ofLane && s.room(client, lane) < 1 || s.free() < 1 {
			return false
		}
		s.taken, client = s.taken+1, client+1
		if ofLane {
			lane++
		}
	}
	return true
}
