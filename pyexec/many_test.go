package pyexec

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/exec"
)

// childrenOf are the processes that a process has started.
func childrenOf(t *testing.T, pid int) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, _ := os.ReadFile(list) // a thread that has ended has none
		for _, field := range strings.Fields(string(text)) {
			kid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, kid)
		}
	}
	return pids
}

// own is how much memory a process has that it shares with no other, in bytes.
func own(t *testing.T, pid int) (sum int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[0] == "Private_Clean:" || f[0] == "Private_Dirty:" {
			kb, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += kb << 10
		}
	}
	return sum
}

// base is the base zygote of the only runtime that runs in this test.
func base(t *testing.T) int {
	t.Helper()
	pids := childrenOf(t, os.Getpid())
	if len(pids) != 1 {
		t.Fatalf("the processes %v were started, want the base alone", pids)
	}
	return pids[0]
}

// TestManyPrograms: of many programs of different code those that were used longest ago have no process, and all can
// still be used; a generation keeps its own, and none is left when they are released.
func TestManyPrograms(t *testing.T) {
	rt := openRuntime(t)
	rt.mostLoaded, rt.spare = 4, 0
	const many = 24
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := descriptors()
	blob := packed(t, "x")
	var all []exec.Program
	var gens []exec.Generation
	for i := range many {
		source := fmt.Sprintf("N = %d\ndef process(x):\n    return N\n", i)
		d, err := describe(t, rt, writeFile(t, "code.py", []byte(source)))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d.Program)
		if i == 0 {
			g, err := d.Program.Start(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()}, dones{t, make(chan exec.Done, 1)})
			if err != nil {
				t.Fatal(err)
			}
			gens = append(gens, g)
		}
	}
	if n := len(childrenOf(t, base(t))); n > rt.mostLoaded+1 {
		t.Errorf("%d programs have %d processes, want at most %d", many, n, rt.mostLoaded+1)
	}
	done := make(chan exec.Done, 1)
	for i, p := range all {
		if i == many/2 { // the first ones have left for a second time
			i = 0
		}
		g, err := p.Start(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()}, dones{t, done})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Lease(exec.Packet{ID: 1, Items: blob, Last: 1, Entries: 1}); err != nil {
			t.Fatal(err)
		}
		if got := readValues(t, (<-done).Early); got != strconv.Itoa(i) && i > 0 {
			t.Errorf("program %d gives %s", i, got)
		}
		g.Kill()
	}
	select {
	case <-gens[0].Done():
		t.Error("a program with a generation was taken away from it")
	default:
	}
	gens[0].Kill()
	for _, p := range all {
		p.Release()
	}
	if n := len(childrenOf(t, base(t))); n > 0 {
		t.Errorf("%d processes are left", n)
	}
	if left, err := os.ReadDir(rt.scratch); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	if after := descriptors(); after > before+2 {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// packed is the path of a blob of items.
func packed(t *testing.T, items ...string) string {
	t.Helper()
	var all [][]byte
	for _, item := range items {
		all = append(all, []byte(item))
	}
	blob, err := exec.PackItems(all)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "items", blob)
}

// TestIdleMemory: a process that has code and waits takes no more than some MB of its own, and neither does the base.
func TestIdleMemory(t *testing.T) {
	const most = 15 << 20
	rt := openRuntime(t)
	rt.spare = 0
	d, err := describe(t, rt, writeFile(t, "code.py", []byte("def process(x):\n    return x\n")))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Program.Release()
	if err := d.Program.Try(t.Context(), exec.GenSpec{Job: 1, Dir: t.TempDir()}, packed(t, "x"), ""); err != nil {
		t.Fatal(err)
	}
	zygotes := childrenOf(t, base(t))
	if len(zygotes) != 1 {
		t.Fatalf("the base has forked %v, want one", zygotes)
	}
	b, z := own(t, base(t)), own(t, zygotes[0])
	t.Logf("the base has %.1f MB of its own, a program %.1f MB", float64(b)/(1<<20), float64(z)/(1<<20))
	if b > most || z > most {
		t.Errorf("the base has %d bytes of its own, a program %d, want at most %d", b, z, most)
	}
}
