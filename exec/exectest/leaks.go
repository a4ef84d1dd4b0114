package exectest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// stock is what this process has of what a runtime might leave behind.
type stock struct {
	processes   map[int]bool
	descriptors int
	goroutines  goleak.Option
}

func takeStock(t *testing.T) stock {
	t.Helper()
	return stock{processes: processes(), descriptors: descriptors(t), goroutines: goleak.IgnoreCurrent()}
}

// compare sees that there is no more than there was.
func (s stock) compare(t *testing.T) {
	t.Helper()
	for pid := range processes() {
		if !s.processes[pid] {
			t.Errorf("left behind: process %d, %s", pid, commandOf(pid))
		}
	}
	if err := goleak.Find(s.goroutines); err != nil {
		t.Errorf("left behind: %v", err)
	}
	if n := descriptors(t); n > s.descriptors {
		t.Errorf("left behind: %d descriptors", n-s.descriptors)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// processes are all processes below this one that have not ended.
func processes() map[int]bool {
	out := map[int]bool{}
	addProcesses(out, os.Getpid())
	return out
}

func addProcesses(out map[int]bool, pid int) {
	lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list) // the thread may have ended
		for _, f := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(f); err == nil && !isZombie(child) {
				out[child] = true
				addProcesses(out, child)
			}
		}
	}
}

func isZombie(pid int) bool {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, after, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(after, "Z")
}

// newProcesses are those that were not there before.
func newProcesses(before map[int]bool) (pids []int) {
	for pid := range processes() {
		if !before[pid] {
			pids = append(pids, pid)
		}
	}
	return pids
}

func commandOf(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return strings.ReplaceAll(string(b), "\x00", " ")
}
