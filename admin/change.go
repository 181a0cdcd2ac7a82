package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ss "github.com/seastreamer/seastreamer"
)

// A Change is something that is to be done: one of the types of this package
// that say so. It is data, and can be kept as JSON, see [MarshalChange].
type Change interface {
	// Kind is what it does in two words, such as "delete-stream".
	Kind() string
	plan(ctx context.Context, c *Client) (*Plan, error)
}

// Plan says what the change would do. It looks at the backend and changes
// nothing.
func (c *Client) Plan(ctx context.Context, ch Change) (*Plan, error) {
	p, err := ch.plan(ctx, c)
	if err != nil {
		return nil, err
	}
	p.Change = ch.Kind()
	if p.Steps == nil {
		p.Steps = []Step{} // a list in JSON too
	}
	return p, nil
}

// Apply plans the change and does it.
func (c *Client) Apply(ctx context.Context, ch Change) (*Plan, error) {
	p, err := c.Plan(ctx, ch)
	if err != nil {
		return nil, err
	}
	return p, p.Apply(ctx)
}

// envelope is a change in JSON.
type envelope struct {
	Kind   string          `json:"kind"`
	Change json.RawMessage `json:"change"`
}

// MarshalChange is the change as JSON, which [UnmarshalChange] reads.
func MarshalChange(ch Change) ([]byte, error) {
	b, err := json.Marshal(ch)
	if err != nil {
		return nil, err
	}
	return json.Marshal(envelope{ch.Kind(), b})
}

// UnmarshalChange reads what MarshalChange wrote. Only changes that undo
// another one are kept as JSON: MoveGroup and SetStream.
func UnmarshalChange(b []byte) (Change, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	switch e.Kind {
	case MoveGroup{}.Kind():
		return unmarshal[MoveGroup](e.Change)
	case SetStream{}.Kind():
		return unmarshal[SetStream](e.Change)
	}
	return nil, fmt.Errorf("a change of kind %q is not one that undoes another", e.Kind)
}

func unmarshal[T Change](b []byte) (Change, error) {
	var ch T
	err := json.Unmarshal(b, &ch)
	return ch, err
}

// notFoundIsNil is err unless it says that something does not exist.
func notFoundIsNil(err error) error {
	if errors.Is(err, ss.ErrNotFound) {
		return nil
	}
	return err
}
