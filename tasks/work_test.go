package tasks_test

import (
	"strings"
	"testing"

	"github.com/dtpnode/dtpnode/tasks"
)

// TestWorkIsBounded has work refused that would take more of a node than a description may.
func TestWorkIsBounded(t *testing.T) {
	hash := strings.Repeat("a", 64)
	ship := func(name, hash string, size int64) tasks.Work {
		return tasks.Work{Kind: "ROOT", Ships: []tasks.Ship{{Name: name, SHA256: hash, Size: size}}}
	}
	ships := func(keep bool, sizes ...int64) tasks.Work {
		w := tasks.Work{Kind: "ROOT"}
		for i, size := range sizes {
			w.Ships = append(w.Ships, tasks.Ship{Name: string(rune('a' + i)), SHA256: hash, Size: size, Keep: keep})
		}
		return w
	}
	for name, tc := range map[string]struct {
		work tasks.Work
		ok   bool
	}{
		"nothing but a kind": {tasks.Work{Kind: "ROOT"}, true},
		"a blob":             {ship("sources", hash, tasks.MaxShip), true},
		"no kind":            {tasks.Work{}, false},
		"a long kind":        {tasks.Work{Kind: strings.Repeat("k", tasks.MaxKind+1)}, false},
		"many needs":         {tasks.Work{Kind: "ROOT", Needs: make([]string, tasks.MaxNeeds+1)}, false},
		"an empty need":      {tasks.Work{Kind: "ROOT", Needs: []string{""}}, false},
		"a long need":        {tasks.Work{Kind: "ROOT", Needs: []string{strings.Repeat("n", tasks.MaxNeed+1)}}, false},
		"a long spec":        {tasks.Work{Kind: "ROOT", Spec: make([]byte, tasks.MaxSpec+1)}, false},
		"a blob of no name":  {ship("", hash, 1), false},
		"a blob of no hash":  {ship("sources", "../../x", 1), false},
		"a large blob":       {ship("sources", hash, tasks.MaxShip+1), false},
		"much to fetch":      {ships(false, tasks.MaxShip, tasks.MaxShip, 1), false},
		"two to fetch":       {ships(false, tasks.MaxShip, tasks.MaxShip), true},
		"much to keep":       {ships(true, tasks.MaxShip, 1), false},
		"a negative blob":    {ship("sources", hash, -1), false},
		"two of one name": {tasks.Work{
			Kind:  "ROOT",
			Ships: []tasks.Ship{{Name: "a", SHA256: hash}, {Name: "a", SHA256: hash}},
		}, false},
	} {
		if err := tc.work.Check(); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCodeTellsCodesApart wants the name that users see of a selector's code to be the hash of its sources.
func TestCodeTellsCodesApart(t *testing.T) {
	sources := tasks.Ship{Name: "sources", SHA256: strings.Repeat("a", 64), Keep: true}
	library := tasks.Ship{Name: "library", SHA256: strings.Repeat("b", 64)}
	if got := (tasks.Work{Kind: "ROOT", Ships: []tasks.Ship{sources, library}}).Code(); got != sources.SHA256 {
		t.Errorf("the code is %s", got)
	}
	one, other := tasks.Work{Kind: "A", Spec: []byte("1")}.Code(), tasks.Work{Kind: "A", Spec: []byte("2")}.Code()
	if one == other || len(one) != 64 {
		t.Errorf("the codes of two specs are %s and %s", one, other)
	}
}
