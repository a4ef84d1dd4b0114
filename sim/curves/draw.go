package main

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

// picture is a file with curves over the number of nodes.
type picture struct {
	file, title, y string
	log            bool // whether the y axis is logarithmic
	low, high      float64
	of             func(Point) []named
}

// named is a quantity of a point, with its name.
type named struct {
	name  string
	value float64
}

func one(f func(Point) float64) func(Point) []named {
	return func(p Point) []named { return []named{{"", f(p)}} }
}

var pictures = []picture{
	{file: "scale-efficiency.svg", title: "Efficiency of jobs without faults", y: "efficiency", low: 0.8, high: 1,
		of: one(func(p Point) float64 { return p.Efficiency })},
	{file: "scale-steals.svg", title: "Steals", y: "a node", of: func(p Point) []named {
		return []named{{"stolen, ", p.Steals}, {"refused, ", p.Refused}}
	}},
	{file: "scale-home.svg", title: "Messages to and from the home", y: "messages/s, mean over the job", log: true,
		of: one(func(p Point) float64 { return p.HomeIn + p.HomeOut })},
	{file: "scale-bytes.svg", title: "Bytes to and from the home, blobs apart", y: "kB/s, mean over the job", log: true,
		of: one(func(p Point) float64 { return p.HomeBytes / 1000 })},
	{file: "scale-merges.svg", title: "Merges", y: "depth of the tree; blobs moved a node", of: func(p Point) []named {
		return []named{{"depth, ", float64(p.Depth)}, {"blobs, ", p.Blobs}}
	}},
}

// line identifies the runs of one curve.
type line struct{ latency, length time.Duration }

func (l line) String() string { return fmt.Sprintf("%v, %.0f s a node", l.latency, l.length.Seconds()) }

func drawAll(out string, points []Point) error {
	for _, pic := range pictures {
		if err := draw(out, pic, points); err != nil {
			return fmt.Errorf("could not draw %q: %w", pic.file, err)
		}
	}
	return nil
}

func draw(out string, pic picture, points []Point) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = pic.title, "nodes", pic.y
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 0}
	if pic.log {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: 0}
	}
	p.Legend.Top = pic.low == 0
	p.Legend.Left = true
	p.Add(plotter.NewGrid())
	var args []any
	for _, c := range curves(pic, points) {
		args = append(args, c.name, c.xys)
	}
	if err := plotutil.AddLinePoints(p, args...); err != nil {
		return err
	}
	if pic.high > 0 {
		p.Y.Min, p.Y.Max = pic.low, pic.high
	}
	return p.Save(7*vg.Inch, 5*vg.Inch, filepath.Join(out, pic.file))
}

// curve is one line of a picture.
type curve struct {
	name string
	xys  plotter.XYs
}

func curves(pic picture, points []Point) (all []curve) {
	points = slices.DeleteFunc(slices.Clone(points), func(p Point) bool { return !p.Deal || p.Replicas == 0 })
	slices.SortStableFunc(points, func(a, b Point) int { return a.Nodes - b.Nodes })
	for _, l := range lines(points) {
		for k := range pic.of(Point{}) {
			c := curve{name: pic.of(Point{})[k].name + l.String()}
			for _, p := range points {
				v := pic.of(p)[k].value
				if (line{p.Latency, p.Length}) == l && (v > 0 || !pic.log) {
					c.xys = append(c.xys, plotter.XY{X: float64(p.Nodes), Y: v})
				}
			}
			if len(c.xys) > 0 {
				all = append(all, c)
			}
		}
	}
	return all
}

func lines(points []Point) (all []line) {
	for _, p := range points {
		if l := (line{p.Latency, p.Length}); !slices.Contains(all, l) {
			all = append(all, l)
		}
	}
	slices.SortFunc(all, func(a, b line) int {
		if a.length != b.length {
			return int(a.length - b.length)
		}
		return int(a.latency - b.latency)
	})
	return all
}

// fitLaw compares pure stealing with the law of divisible-load stealing, W/p + c·λ·log2(W/λ). It fits the excess over
// W/p by a constant, for what does not depend on λ (loading code, the least length of packets), and c.
func fitLaw(points []Point) {
	for _, least := range []int{0, 256} {
		var xs, ys []float64
		for _, p := range points {
			if p.Deal || p.Nodes < least {
				continue
			}
			work := p.Ideal.Seconds() * float64(p.Nodes)
			xs = append(xs, p.Latency.Seconds()*math.Log2(work/p.Latency.Seconds()))
			ys = append(ys, (p.LastRun - p.Ideal).Seconds())
		}
		if len(xs) < 3 {
			return
		}
		a, c := stat.LinearRegression(xs, ys, nil, false)
		fmt.Printf("law, nodes >= %d: makespan = W/p + %.3f s + %.2f λ log2(W/λ), R² %.3f over %d runs\n",
			least, a, c, stat.RSquared(xs, ys, nil, a, c), len(xs))
	}
}
