package sim

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/dtpnode/dtpnode/ledger"
)

// Hostile returns a run with every kind of fault that the protocol promises to survive, with amounts and forms that the
// seed decides. One in ten has losses alone, since without crashes nothing may run twice; one in ten has many
// elections.
func Hostile(seed uint64) Config {
	if c := hostile(seed); seed%12 != 11 || seed%10 == 3 {
		return c
	}
	return Kinds(seed)
}

// hostile is Hostile with one job, whatever the seed.
func hostile(seed uint64) Config {
	c := Config{
		Seed:     seed,
		Nodes:    50 + int(seed%3)*10,
		Slots:    1 + int(seed%2),
		Units:    40_000 + int64(seed%7)*3_000,
		Files:    20,
		Replicas: 3,
		Packet:   400 * time.Millisecond,
		UnitTime: 5 * time.Millisecond,
		Latency:  time.Duration(1+seed%5) * time.Millisecond,
		Calm:     8 * time.Second,
		Blob:     time.Duration(seed%3) * 15 * time.Millisecond,
		Drop:     0.05,
		Repeat:   0.05,
		Delay:    0.02,
		Slow:     int(seed % 6),
		Deal:     seed%2 == 0,
	}
	if seed%4 != 3 {
		c.Snapshot = 5 + int(seed%20)
	}
	c.Folding = ledger.Config{FoldAbove: 4, MaxBlobs: 12, FoldFloor: 1 << 20}
	switch seed / 2 % 3 {
	case 0: // histograms so large that a replica may have only two
		c.Flat = 10 << 20
	case 1: // trees
		c.PerUnit = 1 << 10
	}
	if seed%10 == 3 {
		return c
	}
	c.Crashes, c.Wipes, c.PowerCuts = int(seed%13), int(seed/3%4), int(seed/5%3)%2
	c.Partitions, c.Pauses, c.Stutters, c.Jumps = int(seed/2%4), int(seed%4), int(seed%5), int(seed/7%4)
	c.DiskErrors, c.Rots, c.Twins = float64(seed/11%3)*0.01, int(seed/13%3), int(seed/17%3)
	c.Kills, c.Leaves, c.Late, c.Hasty = int(seed%10), int(seed%4), int(seed%8), seed%10 == 8
	if seed%4 == 1 {
		c.Poison = []int64{17, 33_456}
	}
	if seed%6 == 5 { // making the result fails too, on some nodes or in the user's code
		c.BadEnds, c.BadCode = []float64{0.3, 0.7, 1}[seed/6%3], seed/18%3 == 2
	}
	if seed%5 == 2 {
		c.Blind, c.Hidden = c.Nodes/3, int(seed/5%2)
	}
	if seed%7 == 4 {
		c.Lacking = 2 + int(seed%3)
	}
	if seed%6 == 4 {
		c.Appends = 1 + int(seed%9)
	}
	if seed%10 == 7 { // a bad network and pausing nodes: one election after the other
		c.Drop, c.Repeat, c.Delay, c.Stutters = 0.15, 0.2, 0.2, 15+int(seed%20)
	}
	return c
}

// Kinds is a run of three jobs of different kinds at once, with faults, on nodes that can run some of them.
func Kinds(seed uint64) Config { return hostile(seed).ofKinds() }

// ofKinds is a configuration with three jobs of different kinds in place of one, each of which has fewer units. What
// the side jobs do not model does not happen.
func (c Config) ofKinds() Config {
	c.Kinds, c.Apart = true, time.Duration(c.Seed/12%4)*time.Second
	c.Units /= 3
	c.Wipes, c.DiskErrors, c.Rots, c.Twins, c.Lacking, c.BadEnds, c.BadCode = 0, 0, 0, 0, 0, 0, false
	return c
}

// Check runs a configuration and returns the first check that failed.
func Check(c Config) (Result, error) {
	res := Run(c)
	if res.Err == nil && c.Calm > 0 && c.gentle() && res.Rerun > 0 {
		res.Err = fmt.Errorf("%.0f units ran twice, though messages were all that was lost", res.Rerun*float64(c.Units))
	}
	return res, res.Err
}

// gentle reports whether nothing but messages is lost.
func (c Config) gentle() bool {
	if c.Whole { // a slow node keeps the whole rest of a file, which others run at last
		return false
	}
	return c.Crashes+c.Wipes+c.PowerCuts+c.Partitions+c.Pauses+c.Stutters+c.Jumps+c.Rots+c.Twins+c.Kills+c.Leaves+c.Liars+
		c.Thieves+len(c.Poison) == 0 &&
		c.DiskErrors == 0 && !c.Hasty && !c.Recover
}

// Command is the shell command that replays a configuration with its trace.
func Command(c Config) string {
	h := Hostile(c.Seed)
	c.Trace = nil
	if reflect.DeepEqual(c, h) {
		return fmt.Sprintf("go test ./sim -run TestReplay -v -args -seed %d", c.Seed)
	}
	all, _ := json.Marshal(c)
	var set map[string]any
	_ = json.Unmarshal(all, &set)
	for k, v := range set {
		if v == nil || reflect.ValueOf(v).IsZero() {
			delete(set, k)
		}
	}
	text, _ := json.Marshal(set) // the keys of a map are sorted
	return fmt.Sprintf("go test ./sim -run TestReplay -v -args -config '%s'", text)
}

// Shrink looks for a smaller configuration that still fails, with fewer nodes, units and faults, in at most tries runs.
func Shrink(c Config, tries int) (Config, error) {
	c.Trace = nil
	_, why := Check(c)
	for again := true; again && tries > 0; {
		again = false
		for i := range reflect.TypeFor[Config]().NumField() {
			for _, smaller := range c.smaller(i) {
				if tries--; tries < 0 {
					return c, why
				}
				if _, err := Check(smaller); err != nil {
					c, why, again = smaller, err, true
					break
				}
			}
		}
	}
	return c, why
}

// smaller lists configurations with less of one field: none, half or one less, the smallest first.
func (c Config) smaller(field int) (out []Config) {
	name := reflect.TypeFor[Config]().Field(field).Name
	least := map[string]int64{
		"Nodes":      4,
		"Units":      100,
		"Slots":      1,
		"Halves":     -1,
		"Files":      1,
		"UnitTime":   1e6,
		"Latency":    1e5,
		"Replicas":   -1,
		"Seed":       -1,
		"Limit":      -1,
		"Prepare":    -1,
		"Generation": -1,
		"Packet":     -1,
		"Calm":       1e9,
	}[name]
	v := reflect.ValueOf(&c).Elem().Field(field)
	try := func(set func(reflect.Value)) {
		d := c
		set(reflect.ValueOf(&d).Elem().Field(field))
		out = append(out, d)
	}
	switch {
	case least < 0 || v.IsZero():
	case v.CanInt():
		for i, n := range []int64{least, v.Int() / 2, v.Int() * 9 / 10, v.Int() - 1} {
			if n >= least && n < v.Int() && (i < 3 || v.Int() < 100) {
				try(func(f reflect.Value) { f.SetInt(n) })
			}
		}
	case v.CanFloat(), v.Kind() == reflect.Bool, v.Kind() == reflect.Slice:
		try(func(f reflect.Value) { f.SetZero() })
	}
	return out
}

// Catch says whether and how soon a seed failed.
type Catch struct {
	Caught bool   `json:"caught"`
	Seed   uint64 `json:"seed"` // the seed that failed
	Seen   string `json:"seen"`
}

// Hunt plays up to the given number of seeds, from first on, each with faults and with liars of both kinds, until one
// fails.
func Hunt(first uint64, seeds int) Catch {
	for s := first; s < first+uint64(seeds); s++ {
		for _, c := range []Config{Hostile(s), Lying(s), Usurping(s)} {
			if err := try(c); err != nil {
				return Catch{Caught: true, Seed: s, Seen: err.Error()}
			}
		}
	}
	return Catch{}
}

// try is Check for code with planted bugs, in which a panic also counts as a failure.
func try(c Config) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	_, err = Check(c)
	return err
}
