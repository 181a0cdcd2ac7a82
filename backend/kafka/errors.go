package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/seastreamer/seastreamer/driver"
	"github.com/seastreamer/seastreamer/internal/conn"
)

// kinds says which kind of failure an error of Kafka is. What is not listed is
// ErrUnavailable where Kafka calls it retriable.
var kinds = map[*kerr.Error]error{
	kerr.UnknownTopicOrPartition: driver.ErrNotFound,
	kerr.UnknownTopicID:          driver.ErrNotFound,

	kerr.InvalidTopicException: driver.ErrInvalid,
	kerr.InvalidTimestamp:      driver.ErrInvalid,
	kerr.InvalidRecord:         driver.ErrInvalid,
	kerr.InvalidRequest:        driver.ErrInvalid,
	kerr.InvalidConfig:         driver.ErrInvalid,
	kerr.InvalidGroupID:        driver.ErrInvalid,
	kerr.InvalidSessionTimeout: driver.ErrInvalid,
	kerr.IllegalSaslState:      driver.ErrInvalid,

	kerr.UnsupportedSaslMechanism:           driver.ErrDenied,
	kerr.SaslAuthenticationFailed:           driver.ErrDenied,
	kerr.TopicAuthorizationFailed:           driver.ErrDenied,
	kerr.GroupAuthorizationFailed:           driver.ErrDenied,
	kerr.ClusterAuthorizationFailed:         driver.ErrDenied,
	kerr.SecurityDisabled:                   driver.ErrDenied,
	kerr.DelegationTokenAuthDisabled:        driver.ErrDenied,
	kerr.PolicyViolation:                    driver.ErrDenied,
	kerr.UnsupportedVersion:                 errors.ErrUnsupported,
	kerr.UnsupportedForMessageFormat:        errors.ErrUnsupported,
	kerr.UnsupportedCompressionType:         errors.ErrUnsupported,
	kerr.InconsistentGroupProtocol:          driver.ErrInvalid,
	kerr.MessageTooLarge:                    driver.ErrTooLarge,
	kerr.RecordListTooLarge:                 driver.ErrTooLarge,
	kerr.IllegalGeneration:                  driver.ErrFenced,
	kerr.UnknownMemberID:                    driver.ErrFenced,
	kerr.FencedInstanceID:                   driver.ErrFenced,
	kerr.FencedMemberEpoch:                  driver.ErrFenced,
	kerr.StaleMemberEpoch:                   driver.ErrFenced,
	kerr.UnreleasedInstanceID:               driver.ErrFenced,
	kerr.RebalanceInProgress:                driver.ErrUnavailable,
	kerr.OffsetOutOfRange:                   driver.ErrLost,
	kerr.GroupMaxSizeReached:                driver.ErrUnavailable,
	kerr.UnknownServerError:                 driver.ErrUnavailable,
	kerr.CorruptMessage:                     driver.ErrLost,
	kerr.TopicAlreadyExists:                 driver.ErrExists,
	kerr.TransactionalIDAuthorizationFailed: driver.ErrDenied,

	// Of administration.
	kerr.InvalidPartitions:           driver.ErrInvalid,
	kerr.InvalidReplicationFactor:    driver.ErrInvalid,
	kerr.InvalidReplicaAssignment:    driver.ErrInvalid,
	kerr.InvalidPrincipalType:        driver.ErrInvalid,
	kerr.UnacceptableCredential:      driver.ErrInvalid,
	kerr.DuplicateResource:           driver.ErrExists,
	kerr.ResourceNotFound:            driver.ErrNotFound,
	kerr.GroupIDNotFound:             driver.ErrNotFound,
	kerr.NonEmptyGroup:               driver.ErrFenced,
	kerr.GroupSubscribedToTopic:      driver.ErrFenced,
	kerr.NoReassignmentInProgress:    driver.ErrNotFound,
	kerr.ReassignmentInProgress:      driver.ErrUnavailable,
	kerr.PreferredLeaderNotAvailable: driver.ErrUnavailable,
	kerr.EligibleLeadersNotAvailable: driver.ErrUnavailable,
	kerr.TopicDeletionDisabled:       driver.ErrDenied,
}

// describe is one line about an error of the server or the way to it, and its
// kind. stream is what it is about, where that is known.
func (c *client) describe(err error, stream string) (kind, text error) {
	if d := c.failedDial(err); d != nil {
		var verify *tls.CertificateVerificationError
		if errors.As(d.Err, &verify) || conn.IsAlert(d.Err) {
			return driver.ErrDenied, d
		}
		return driver.ErrUnavailable, d
	}
	var k *kerr.Error
	if errors.As(err, &k) {
		return c.describeAnswer(k, err, stream)
	}
	switch {
	case conn.IsAlert(err):
		return driver.ErrDenied, fmt.Errorf("%s refused the TLS certificate: give cert_file and key_file that it accepts: %w", c.nodes(), err)
	case errors.Is(err, kgo.ErrClientClosed):
		return driver.ErrClosed, nil
	case errors.Is(err, context.Canceled):
		return nil, err
	case errors.Is(err, context.DeadlineExceeded):
		return driver.ErrUnavailable, fmt.Errorf("no answer from %s in time: %w", c.nodes(), err)
	case conn.IsEOF(err):
		return driver.ErrUnavailable, fmt.Errorf("%s closed the connection: it may want TLS or a user", c.nodes())
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return driver.ErrUnavailable, err
	}
	if unsupported(err) {
		return errors.ErrUnsupported, fmt.Errorf("%s does not know the request: its release is too old for it, or it is not Apache Kafka", c.nodes())
	}
	return driver.ErrUnavailable, err
}

func (c *client) describeAnswer(k *kerr.Error, err error, stream string) (kind, text error) {
	kind, listed := kinds[k]
	if !listed {
		kind = driver.ErrUnavailable
		if !k.Retriable {
			kind = nil
		}
	}
	var said string
	switch k {
	case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID:
		said = fmt.Sprintf("%s has no stream %q", c.nodes(), stream)
	case kerr.SaslAuthenticationFailed:
		said = fmt.Sprintf("%s refused user %q: is the password right, and sasl=%s what the user has?", c.nodes(), c.o.User, c.o.SASL)
	case kerr.UnsupportedSaslMechanism:
		said = fmt.Sprintf("%s does not take sasl=%s", c.nodes(), c.o.SASL)
	case kerr.IllegalSaslState:
		said = fmt.Sprintf("%s does not authenticate on this port: leave out the user, or use another port", c.nodes())
	case kerr.TopicAuthorizationFailed:
		said = fmt.Sprintf("%s does not allow %s on stream %q", c.nodes(), c.who(), stream)
	case kerr.GroupAuthorizationFailed:
		said = fmt.Sprintf("%s does not allow %s in the group", c.nodes(), c.who())
	case kerr.ClusterAuthorizationFailed:
		said = fmt.Sprintf("%s does not allow %s to do this", c.nodes(), c.who())
	case kerr.InvalidTopicException:
		said = fmt.Sprintf("%s does not take %q as a stream's name", c.nodes(), stream)
	case kerr.InvalidSessionTimeout:
		said = fmt.Sprintf("%s does not allow session_timeout=%v: see its group.min.session.timeout.ms and group.max.session.timeout.ms", c.nodes(), c.o.SessionTimeout)
	case kerr.InvalidTimestamp:
		said = fmt.Sprintf("%s does not take the record's time: see message.timestamp.after.max.ms and message.timestamp.type of the topic", c.nodes())
	default:
		return kind, err
	}
	return kind, &answered{said, err}
}

// answered is a clearer text for what Kafka said, which still unwraps.
type answered struct {
	said string
	err  error
}

func (a *answered) Error() string { return a.said }
func (a *answered) Unwrap() error { return a.err }

// failedDial is why no broker could be reached, if that is what err is about:
// it says so itself, or time ran out while connections failed.
func (c *client) failedDial(err error) *conn.Error {
	var d *conn.Error
	if errors.As(err, &d) {
		return d
	}
	if errors.Is(err, context.DeadlineExceeded) || conn.IsEOF(err) {
		return c.dialer.last.Load()
	}
	return nil
}

// fail is the error that a method returns. Op is empty where the core knows
// better what was tried.
func (c *client) fail(op, stream string, err error) error {
	if err == nil {
		return nil
	}
	var e *driver.Error
	if errors.As(err, &e) {
		return err
	}
	kind, text := c.describe(err, stream)
	return &driver.Error{Op: op, Kind: kind, Err: text}
}

func (c *client) who() string {
	if c.o.User == "" {
		return "anybody"
	}
	return fmt.Sprintf("user %q", c.o.User)
}

// isAnswer reports whether the server said so.
func isAnswer(err error) bool {
	var k *kerr.Error
	return errors.As(err, &k)
}
