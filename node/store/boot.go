package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dtpnode/dtpnode/internal/durable"
)

// bootFile keeps, in the state folder, the number of this daemon's life.
const bootFile = "boot"

// maxBoot bounds the number of a life: ids of messages and partials have 24 bits below it.
const maxBoot = 1 << 39

// lastBoot is the number of the life before; 0 before the first.
func lastBoot(stateDir string) (uint64, error) {
	b, err := os.ReadFile(filepath.Join(stateDir, bootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	last, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	switch {
	case len(b) == 0:
		return 0, errors.New("the file is empty")
	case err != nil:
		return 0, fmt.Errorf("the file is damaged: want a number, and it holds %q", b[:min(len(b), 40)])
	}
	return last, nil
}

// NextBoot counts, durably, how often a daemon was started. The count is part of the names that a daemon gives, so that
// no name is ever given twice. The clock alone is not enough for that, since it may be set back. If the file with the
// count is lost the clock is all that is left, so the count is never below it.
func NextBoot(stateDir string, now time.Time) (uint64, error) {
	path := filepath.Join(stateDir, bootFile)
	fail := func(err error) (uint64, error) {
		return 0, fmt.Errorf("could not count the starts of this daemon in %q: %w", path, err)
	}
	last, err := lastBoot(stateDir)
	if err != nil {
		return 0, bootDamage(stateDir, err)
	}
	boot := max(last+1, uint64(max(now.UnixMilli(), 0))/16) // the clock counts in units of 16 ms
	if last >= maxBoot || boot >= maxBoot {
		return fail(fmt.Errorf("%d is too large: is the clock right, which says %s?", boot, now.Format(time.DateTime)))
	}
	if err := durable.PlaceSynced(path, durable.Bytes(strconv.AppendUint(nil, boot, 10))); err != nil {
		return fail(err)
	}
	return boot, nil
}
