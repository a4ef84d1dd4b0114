package api

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// DatasetRequest asks for files to be kept under a name, of the member on whose node that is asked.
type DatasetRequest struct {
	Name    string      `json:"name"`
	Kind    string      `json:"kind,omitempty"` // of work by which the files are read, as in a JobRequest
	Part    string      `json:"part"`           // as in a JobRequest
	Files   []InputFile `json:"files"`
	Replace bool        `json:"replace,omitempty"` // the files take the place of those that the name has
}

// Dataset is a list of files under a name.
type Dataset struct {
	Name       string        `json:"name"` // with its owner's before it: owner/name
	Owner      string        `json:"owner"`
	OwnerName  string        `json:"owner_name"`     // what it is called, or was last, told apart from others of that name
	Gone       bool          `json:"gone,omitempty"` // the owner is no member any more
	Registered time.Time     `json:"registered"`
	Kind       string        `json:"kind"`
	Count      int           `json:"count"` // of files
	Entries    int64         `json:"entries"`
	Bytes      int64         `json:"bytes"`           // compressed, of what is read of the files
	Files      []DatasetFile `json:"files,omitempty"` // left out of lists
	// KeptBy is how many members had it when it was registered, this node among them; 0 otherwise.
	KeptBy int `json:"kept_by,omitempty"`
}

// UsedDataset is a dataset that a job runs over, as it was registered.
type UsedDataset struct {
	Name string `json:"name"` // OWNER/NAME
	// Asked is the name by which the user has named it, without its owner, where that is another member; else empty.
	Asked string        `json:"asked,omitempty"`
	Files []DatasetFile `json:"files"`
}

// DatasetFile is one file of a dataset, as it was when it was registered.
type DatasetFile struct {
	URL     string `json:"url"`
	Part    string `json:"part"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
	UUID    string `json:"uuid,omitempty"`
}

// DatasetCheck is what became of the files of a dataset since they were registered.
type DatasetCheck struct {
	Name    string     `json:"name"`
	Checked int        `json:"checked"` // files
	Whole   int        `json:"whole"`   // of them as they were registered
	Files   []FileFate `json:"files"`   // the others
}

// FileFate is what became of one file.
type FileFate struct {
	URL string `json:"url"`
	// State is "missing" where no member that answers sees the file, "changed" where it has other entries or was written
	// anew, and "corrupted" where it cannot be read.
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// AddDataset registers files under a name.
func (c *Client) AddDataset(ctx context.Context, req DatasetRequest) (Dataset, error) {
	return call[Dataset](ctx, c, http.MethodPost, "/v1/datasets", req)
}

// Datasets lists those that this node and the members that answer have, without their files.
func (c *Client) Datasets(ctx context.Context) ([]Dataset, error) {
	return call[[]Dataset](ctx, c, http.MethodGet, "/v1/datasets", nil)
}

// Dataset is one by its name, with its files.
func (c *Client) Dataset(ctx context.Context, name string) (Dataset, error) {
	return call[Dataset](ctx, c, http.MethodGet, "/v1/dataset?name="+url.QueryEscape(name), nil)
}

// CheckDataset opens all files of a dataset, here or on members that see them.
func (c *Client) CheckDataset(ctx context.Context, name string) (DatasetCheck, error) {
	return call[DatasetCheck](ctx, c, http.MethodPost, "/v1/dataset/verify?name="+url.QueryEscape(name), nil)
}

// RemoveDataset removes a dataset of this node from all members. The files stay.
func (c *Client) RemoveDataset(ctx context.Context, name string) (Dataset, error) {
	return call[Dataset](ctx, c, http.MethodPost, "/v1/dataset/remove?name="+url.QueryEscape(name), nil)
}
