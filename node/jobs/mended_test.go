package jobs

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
	"github.com/dtpnode/dtpnode/tasks"
)

// TestCodesOf retries a job again and again, and wants told which code ran how much, each code once.
func TestCodesOf(t *testing.T) {
	with := func(value string) []tasks.Param { return []tasks.Param{{Name: "cut", Value: value}} }
	type step struct {
		source string
		params []tasks.Param
		done   int64 // committed at its end, of this job and before
		want   []api.Code
	}
	for name, steps := range map[string][]step{
		"the same code": {{"a", nil, 10, nil}, {"a", nil, 12, nil}, {"a", nil, 15, nil}},
		"other parameters": {
			{"a", with("1"), 10, nil},
			{"a", with("2"), 12, []api.Code{
				{Source: "a", Job: "00", Entries: 10, Params: map[string]string{"cut": "1"}},
				{Source: "a", Job: "01", Entries: 2, Params: map[string]string{"cut": "2"}},
			}},
		},
		"nothing was done": {{"a", nil, 0, nil}, {"b", nil, 5, nil}},
		"there and back": {
			{"a", nil, 10, nil},
			{"b", nil, 12, []api.Code{{Source: "a", Job: "00", Entries: 10}, {Source: "b", Job: "01", Entries: 2}}},
			{"a", nil, 15, []api.Code{{Source: "a", Job: "00", Entries: 13}, {Source: "b", Job: "01", Entries: 2}}},
		},
		"kept, then another": {
			{"a", nil, 10, nil},
			{"a", nil, 12, nil},
			{"b", nil, 13, []api.Code{{Source: "a", Job: "01", Entries: 12}, {Source: "b", Job: "02", Entries: 1}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var old *tasks.Job
			before := int64(0)
			for i, s := range steps {
				desc := &tasks.Job{
					Nonce: []byte{byte(i)},
					Work:  tasks.Work{Ships: []tasks.Ship{{SHA256: s.source, Keep: true}}},
					Ask:   tasks.Ask{Params: s.params},
				}
				if old != nil {
					desc.Ask.Again = &tasks.Again{Job: store.NameOf(old), Units: before}
					desc.Ask.Again.Ran = ranBefore(desc, old)
				}
				if diff := cmp.Diff(s.want, codesOf(desc, s.done)); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
				old, before = desc, s.done
			}
		})
	}
}
