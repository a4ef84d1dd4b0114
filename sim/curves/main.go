// Command curves simulates clusters of 10 to 100,000 nodes without faults, and draws their performance into docs/:
//
//	go run ./sim/curves [-out docs] [-max 10000] [-draw]
//
// The figures are stored in docs/scale.json, one run in a line; a run that is there already is not repeated. With -draw
// nothing is run. Runs of more than 10,000 nodes take minutes and up to 12 GB.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/dtpnode/dtpnode/sim"
)

func main() {
	out := flag.String("out", "docs", "folder for the pictures and figures")
	most := flag.Int("max", 10_000, "largest number of nodes")
	draw := flag.Bool("draw", false, "only draw what is there")
	flag.Parse()
	debug.SetMemoryLimit(12 << 30)
	if err := run(*out, *most, *draw); err != nil {
		fmt.Fprintln(os.Stderr, "curves:", err)
		os.Exit(1)
	}
}

// Setup is what distinguishes one run from another.
type Setup struct {
	Nodes    int
	Latency  time.Duration // one way
	Length   time.Duration // run time of the job on all nodes
	Deal     bool
	Replicas int
	Unit     time.Duration // run time of a unit
	Prepare  time.Duration // longest time to load a job's code
}

// Point is the outcome of one run.
type Point struct {
	Setup
	Efficiency  float64
	Makespan    time.Duration
	Ideal       time.Duration // makespan with all nodes busy all the time
	LastRun     time.Duration // when the last unit was processed
	Steals      float64       // a node
	Requests    float64       // a node
	Refused     float64       // a node
	HomeIn      float64       // messages a second, mean over the job
	HomeOut     float64
	PeakIn      int // messages in the home's busiest second
	PeakOut     int
	HomeBytes   float64 // a second
	Merges      float64 // a node
	Depth       int     // longest chain of merges
	Blobs       float64 // blobs fetched from another node, for each node
	HomeBlobs   int
	Rerun       float64
	RealSeconds float64 // seconds that the simulation took
}

func run(out string, most int, drawOnly bool) error {
	path := filepath.Join(out, "scale.json")
	points, err := load(path)
	if err != nil {
		return err
	}
	if !drawOnly {
		for _, s := range setups(most) {
			if find(points, s) != nil {
				continue
			}
			p, err := simulate(s)
			if err != nil {
				return fmt.Errorf("could not simulate %+v: %w", s, err)
			}
			points = append(points, p)
			if err := save(path, p); err != nil {
				return err
			}
			fmt.Printf("%6d nodes %5v %8v deal %-5v replicas %d: efficiency %.4f, home %.0f+%.0f messages/s, %.0f s\n",
				s.Nodes, s.Latency, s.Length, s.Deal, s.Replicas, p.Efficiency, p.HomeIn, p.HomeOut, p.RealSeconds)
		}
	}
	fitLaw(points)
	return drawAll(out, points)
}

// setups lists the runs: for the curves, for the cost of replicas, and for the law of the makespan.
func setups(most int) (all []Setup) {
	add := func(n int, s Setup) {
		if s.Nodes = n; n <= most {
			all = append(all, s)
		}
	}
	base := Setup{Deal: true, Replicas: 3, Unit: 10 * time.Millisecond}
	for _, n := range []int{10, 30, 100, 300, 1000, 3000, 10_000} {
		for _, length := range []time.Duration{10 * time.Second, 60 * time.Second} {
			for _, latency := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
				if n == 10_000 && latency > 5*time.Millisecond {
					continue
				}
				s := base
				s.Length, s.Latency = length, latency
				add(n, s)
			}
		}
	}
	for _, n := range []int{30_000, 100_000} {
		s := base
		s.Length, s.Latency = 20*time.Second, time.Millisecond
		add(n, s)
	}
	for _, n := range []int{100, 1000, 10_000} {
		s := base
		s.Length, s.Latency, s.Replicas = 60*time.Second, time.Millisecond, 0
		add(n, s)
	}
	for _, n := range []int{16, 64, 256, 1024} {
		for _, latency := range []time.Duration{time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond,
			50 * time.Millisecond} {
			for _, length := range []time.Duration{5 * time.Second, 20 * time.Second} {
				add(n, Setup{Latency: latency, Length: length, Unit: time.Millisecond, Prepare: time.Millisecond})
			}
		}
	}
	return all
}

func simulate(s Setup) (Point, error) {
	c := sim.Config{
		Seed:       1,
		Nodes:      s.Nodes,
		Slots:      1,
		Files:      max(s.Nodes/10, 10),
		UnitTime:   s.Unit,
		Latency:    s.Latency,
		Deal:       s.Deal,
		Units:      int64(s.Nodes) * int64(s.Length/s.Unit),
		Replicas:   s.Replicas,
		View:       16,
		Generation: 30 * time.Second,
		Packet:     200 * time.Millisecond,
		Prepare:    s.Prepare,
		Bytes:      true,
	}
	if s.Nodes > 10_000 { // saves memory and time
		c.View, c.Packet, c.Bytes = 8, 500*time.Millisecond, false
	}
	began := time.Now()
	r := sim.Run(c)
	if r.Err != nil {
		return Point{}, r.Err
	}
	n, secs, l := float64(s.Nodes), r.Makespan.Seconds(), &r.Load
	in, out := l.Messages()
	return Point{
		Setup:       s,
		Efficiency:  r.Efficiency(c),
		Makespan:    r.Makespan,
		LastRun:     l.LastRun,
		Ideal:       time.Duration(float64(c.Units) * float64(c.UnitTime) / r.Speed),
		Steals:      float64(r.Steals) / n,
		Requests:    float64(l.Requests) / n,
		Refused:     float64(l.Refused) / n,
		HomeIn:      float64(in) / secs,
		HomeOut:     float64(out) / secs,
		PeakIn:      l.PeakIn,
		PeakOut:     l.PeakOut,
		HomeBytes:   float64(l.Bytes()) / secs,
		Merges:      float64(l.Merges) / n,
		Depth:       l.Depth,
		Blobs:       float64(l.Blobs) / n,
		HomeBlobs:   l.HomeBlobs,
		Rerun:       r.Rerun,
		RealSeconds: time.Since(began).Seconds(),
	}, nil
}

func find(points []Point, s Setup) *Point {
	for i := range points {
		if points[i].Setup == s {
			return &points[i]
		}
	}
	return nil
}

func load(path string) (points []Point, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("could not read the figures: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var p Point
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			return nil, fmt.Errorf("could not read the figures in %q: %w", path, err)
		}
		points = append(points, p)
	}
	return points, nil
}

func save(path string, p Point) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("could not keep the figures: %w", err)
	}
	err = json.NewEncoder(f).Encode(p)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("could not keep the figures in %q: %w", path, err)
	}
	return nil
}
