package tasks

import (
	"errors"
	"fmt"
	"slices"
	"sort"
)

// File is one file of a dataset, as planned.
type File struct {
	URL     string `msgpack:"u"`
	Part    string `msgpack:"t"` // that is read of the file, such as the path of a tree
	Entries int64  `msgpack:"n"`
	// Clusters are the first entries of the part's clusters, ascending from 0: entries that were
	// compressed together. They cost one decompression however few of them are read.
	Clusters []int64 `msgpack:"c"`
	Bytes    int64   `msgpack:"b"` // compressed
	// Items is the hex SHA-256 of a blob of items, each of which is a unit, in place of a file: URL is empty then.
	Items string `msgpack:"h,omitempty"`
	// Depends says that each item names the units of the job whose results it takes: exec.PackLinked has the layout. It is
	// run once these are committed.
	Depends bool `msgpack:"l,omitempty"`
	// Data is that blob itself, if it has at most MaxItemsData bytes: nobody has to fetch it then, nor is it kept apart.
	Data []byte `msgpack:"d,omitempty"`
	// UUID is the identifier that was written into the file when it was made; copies of the file have the same. It is
	// empty if it is not known, or another file with as many entries is to be taken for the same.
	UUID string `msgpack:"i,omitempty"`
	// Of is how many entries the part has, where only some of them, Entries in number, were chosen to be run: a unit is a
	// chosen entry then, and Clusters count chosen entries. 0 where all are run.
	Of int64 `msgpack:"o,omitempty"`
}

// Total is how many entries the part has.
func (f *File) Total() int64 { return max(f.Of, f.Entries) }

// Dataset numbers the entries of its files 0..N-1 in order. Make it with NewDataset, or call Index
// after decoding one.
type Dataset struct {
	Files []File `msgpack:"f"`
	// Whole says that the entries of a file are to be run in order, and so by one process at a time: work is divided only
	// between files. What was run of a file from its first wanted entry on, and went well, may be told apart from the
	// rest, which then is run as a whole.
	Whole bool `msgpack:"w,omitempty"`

	base  []int64 // base[i] is the unit of Files[i]'s entry 0; one more element for N
	start []int64 // start[i] is how many entries, chosen or not, the files before Files[i] have; nil if all are chosen
}

// NewDataset indexes files.
func NewDataset(files []File) (*Dataset, error) {
	d := &Dataset{Files: files}
	return d, d.Index()
}

// Index checks the files and builds the offsets; it must be called once after decoding.
func (d *Dataset) Index() error {
	d.base, d.start = make([]int64, len(d.Files)+1), nil
	if slices.ContainsFunc(d.Files, func(f File) bool { return f.Of != 0 }) {
		d.start = make([]int64, len(d.Files)+1)
	}
	for i, f := range d.Files {
		if f.Entries < 0 || d.base[i]+f.Entries < d.base[i] {
			return fmt.Errorf("could not index dataset: file %q has %d entries", f.URL, f.Entries)
		}
		if err := d.startAt(i); err != nil {
			return err
		}
		prev := int64(-1)
		for _, c := range f.Clusters {
			if c <= prev || c >= f.Entries {
				return fmt.Errorf("could not index dataset: file %q has a cluster at entry %d after %d, of %d entries",
					f.URL, c, prev, f.Entries)
			}
			prev = c
		}
		d.base[i+1] = d.base[i] + f.Entries
	}
	return nil
}

// startAt notes how many entries the files up to file i have.
func (d *Dataset) startAt(i int) error {
	f := &d.Files[i]
	if d.start == nil {
		return nil
	}
	if f.Of != 0 && f.Of < f.Entries || d.start[i]+f.Total() < d.start[i] {
		return fmt.Errorf("could not index dataset: of %d entries of file %q %d are chosen", f.Of, f.URL, f.Entries)
	}
	d.start[i+1] = d.start[i] + f.Total()
	return nil
}

// Clone is a dataset that can grow by itself.
func (d *Dataset) Clone() *Dataset {
	return &Dataset{
		Files: slices.Clone(d.Files), Whole: d.Whole, base: slices.Clone(d.base), start: slices.Clone(d.start),
	}
}

// Append adds files at the end, whose units follow those that there are. Nothing is added if they make no dataset.
func (d *Dataset) Append(files []File) error {
	more, err := NewDataset(files)
	if err != nil {
		return err
	}
	end := d.base[len(d.Files)]
	if d.start != nil || more.start != nil { // files are not appended to datasets of which entries were chosen
		return errors.New("could not add files to a dataset of chosen entries")
	}
	if end+more.base[len(files)] < end {
		return fmt.Errorf("could not add %d files to a dataset of %d units: they are too many", len(files), end)
	}
	d.Files = append(d.Files, files...)
	for _, first := range more.base[1:] {
		d.base = append(d.base, end+first)
	}
	return nil
}

// Space is the range of all units.
func (d *Dataset) Space() Range { return R(0, d.base[len(d.Files)]) }

// Units is the range of units of file i.
func (d *Dataset) Units(i int) Range { return R(d.base[i], d.base[i+1]) }

// Start is how many entries, chosen or not, the files before file i have: the number that entry 0 of the file has where
// the entries of all files are counted.
func (d *Dataset) Start(i int) int64 {
	if d.start == nil {
		return d.base[i]
	}
	return d.start[i]
}

// Entries is how many entries, chosen or not, all files have.
func (d *Dataset) Entries() int64 {
	if len(d.base) == 0 {
		return 0
	}
	return d.Start(len(d.Files))
}

// Locate finds the file of unit u and the entry within it. u must lie in Space.
func (d *Dataset) Locate(u int64) (file int, entry int64) {
	file = sort.Search(len(d.Files), func(i int) bool { return d.base[i+1] > u })
	return file, u - d.base[file]
}

// Cluster is the range of units of the cluster that holds u. A file without clusters is one cluster.
func (d *Dataset) Cluster(u int64) Range {
	i, e := d.Locate(u)
	cs := d.Files[i].Clusters
	k := sort.Search(len(cs), func(k int) bool { return cs[k] > e })
	out := d.Units(i)
	if k < len(cs) {
		out.Last = d.base[i] + cs[k]
	}
	if k > 0 {
		out.First = d.base[i] + cs[k-1]
	}
	return out
}

// Packet cuts the next packet off the front of r: about target units, within one file, ending at a cluster boundary
// where one lies between half and twice the target. A target of one is for units so long that each goes by itself. r
// must not be empty. If files are Whole, it is all of r that is in the first file.
func (d *Dataset) Packet(r Range, target int64) Range {
	if d.Whole {
		i, _ := d.Locate(r.First)
		return R(r.First, min(r.Last, d.base[i+1]))
	}
	if target <= 1 {
		return R(r.First, r.First+1)
	}
	i, _ := d.Locate(r.First)
	limit := min(r.Last, d.base[i+1])
	if limit-r.First <= target+target/2 {
		if limit-r.First <= target || d.Cluster(limit-1).First <= r.First {
			return R(r.First, limit)
		}
	}
	want := r.First + target
	if want >= limit {
		return R(r.First, limit)
	}
	c := d.Cluster(want)
	if c.First-r.First >= target/2 && c.First > r.First && want-c.First <= c.Last-want {
		return R(r.First, c.First)
	}
	if end := min(c.Last, limit); end-r.First <= 2*target {
		return R(r.First, end)
	}
	if c.First-r.First >= target/2 && c.First > r.First {
		return R(r.First, c.First)
	}
	return R(r.First, want)
}

// Cut is the unit nearest to at, within r, at which work is best divided: a file boundary if one lies
// within slack units, else a cluster boundary if one does, else at itself. If files are Whole, it is the file boundary
// nearest to at, however far away, and the end of r if there is none inside r.
func (d *Dataset) Cut(r Range, at, slack int64) int64 {
	at = min(max(at, r.First), r.Last)
	if at <= r.First || at >= r.Last {
		return at
	}
	i, _ := d.Locate(at)
	if d.Whole {
		if d.base[i+1] < r.Last && (d.base[i] <= r.First || d.base[i+1]-at < at-d.base[i]) {
			return d.base[i+1]
		}
		if d.base[i] > r.First {
			return d.base[i]
		}
		return r.Last
	}
	if b, ok := nearest(at, slack, r, d.base[i], d.base[i+1]); ok {
		return b
	}
	c := d.Cluster(at)
	if b, ok := nearest(at, slack, r, c.First, c.Last); ok {
		return b
	}
	return at
}

// nearest picks the one of a and b that is closer to at, if it is inside r and within slack.
func nearest(at, slack int64, r Range, a, b int64) (int64, bool) {
	if b-at < at-a {
		a = b
	}
	dist := max(a-at, at-a)
	return a, dist <= slack && a > r.First && a < r.Last
}
