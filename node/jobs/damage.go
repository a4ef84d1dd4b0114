package jobs

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/dtpnode/dtpnode/node/api"
	"github.com/dtpnode/dtpnode/node/store"
)

// unreadable explains why a job is not known here although its folder is: the status in it is damaged. It returns nil
// if there is no such folder, or nothing is wrong with it.
func (r *teller) unreadable(name string) error {
	dirs, _ := filepath.Glob(r.results.FolderOf(name + "*"))
	if name == "" || strings.ContainsAny(name, `*?[\/`) || len(dirs) != 1 {
		return nil
	}
	if _, err := r.results.Status(filepath.Base(dirs[0])); err != nil {
		return ToldDamage(err)
	}
	return nil
}

// ToldDamage turns an error of the store that reports damage into one for users, which says what is damaged and what to
// do about it. It returns any other error as it is.
func ToldDamage(err error) error {
	var damage *store.Damage
	if !errors.As(err, &damage) {
		return err
	}
	return &api.Error{Status: http.StatusInternalServerError, Message: damage.Text, Hint: damage.Mend, Err: err}
}
