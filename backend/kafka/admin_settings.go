package kafka

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/seastreamer/seastreamer/driver"
)

// The typed settings by Kafka's names.
const (
	setAge      = "retention.ms"
	setBytes    = "retention.bytes"
	setMessage  = "max.message.bytes"
	setPolicy   = "cleanup.policy"
	setInSync   = "min.insync.replicas"
	policyKeep  = "compact"
	policyDrop  = "delete"
	policyMixed = "compact,delete"
)

// configsAtOnce bounds the topics whose settings are asked for at once: each
// has some thirty-five.
const configsAtOnce = 1000

func (c *client) describeSettings(ctx context.Context, all map[string]*described) error {
	names := make([]string, 0, len(all))
	for n, d := range all {
		if len(d.info.Shards) > 0 {
			names = append(names, n)
		}
	}
	for part := range slices.Chunk(names, configsAtOnce) {
		err := c.configs(ctx, kmsg.ConfigResourceTypeTopic, part, nil, func(name string, entries []driver.ConfigEntry, err error) {
			d := all[name]
			if d == nil {
				return
			}
			if err != nil {
				d.failed(err)
				return
			}
			d.info.Config, d.info.Settings = entries, typed(entries)
			copies := len(d.info.Shards[0].Replicas)
			d.info.Settings.Replicas = &copies
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// configs asks for settings of topics or brokers, those named in keys or all,
// and calls f for each. An error of f's is of that one alone.
func (c *client) configs(ctx context.Context, kind kmsg.ConfigResourceType, names, keys []string, f func(name string, entries []driver.ConfigEntry, err error)) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, n := range names {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kind, n, keys
		req.Resources = append(req.Resources, r)
	}
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			if part, ok := a.Req.(*kmsg.DescribeConfigsRequest); ok {
				for _, r := range part.Resources {
					f(r.ResourceName, nil, c.fail("", r.ResourceName, a.Err))
				}
			}
			continue
		}
		resp := a.Resp.(*kmsg.DescribeConfigsResponse)
		for i := range resp.Resources {
			r := &resp.Resources[i]
			if err := answer(r.ErrorCode, r.ErrorMessage); err != nil {
				f(r.ResourceName, nil, c.fail("", r.ResourceName, err))
				continue
			}
			f(r.ResourceName, entries(r.Configs), nil)
		}
	}
	return nil
}

// entries are settings as the driver writes them, by name.
func entries(configs []kmsg.DescribeConfigsResponseResourceConfig) []driver.ConfigEntry {
	es := make([]driver.ConfigEntry, 0, len(configs))
	for i := range configs {
		k := &configs[i]
		e := driver.ConfigEntry{Name: k.Name, Source: source(k), ReadOnly: k.ReadOnly, Secret: k.IsSensitive}
		if k.Value != nil && !e.Secret {
			e.Value = *k.Value
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b driver.ConfigEntry) int { return strings.Compare(a.Name, b.Name) })
	return es
}

func source(k *kmsg.DescribeConfigsResponseResourceConfig) string {
	switch k.Source {
	case kmsg.ConfigSourceDynamicTopicConfig:
		return "stream"
	case kmsg.ConfigSourceDynamicBrokerConfig, kmsg.ConfigSourceDynamicBrokerLoggerConfig:
		return "node"
	case kmsg.ConfigSourceDynamicDefaultBrokerConfig:
		return "cluster"
	case kmsg.ConfigSourceStaticBrokerConfig:
		return "file"
	case kmsg.ConfigSourceDefaultConfig:
		return "default"
	}
	if k.IsDefault {
		return "default"
	}
	return "stream" // a server that does not say more
}

// typed finds the settings that several backends have. A stream that is only
// compacted removes nothing by age or size, whatever its retention says.
func typed(entries []driver.ConfigEntry) driver.Settings {
	var s driver.Settings
	compact, drop := false, true
	number := func(e driver.ConfigEntry) *int64 {
		n, err := strconv.ParseInt(e.Value, 10, 64)
		if err != nil {
			return nil
		}
		return &n
	}
	for _, e := range entries {
		switch e.Name {
		case setAge:
			if n := number(e); n != nil {
				s.MaxAge = new(millis(*n))
			}
		case setBytes:
			s.MaxBytes = number(e)
		case setMessage:
			s.MaxMessage = number(e)
		case setPolicy:
			compact, drop = strings.Contains(e.Value, policyKeep), strings.Contains(e.Value, policyDrop)
			s.Compact = new(compact)
		case setInSync:
			if n := number(e); n != nil {
				s.MinInSync = new(int(*n))
			}
		}
	}
	if compact && !drop {
		s.MaxAge, s.MaxBytes = new(time.Duration(-1)), new(int64(-1))
	}
	return s
}

// millis is a duration of Kafka's, where below zero is without a limit; so is
// what a Duration cannot hold.
func millis(n int64) time.Duration {
	if n < 0 || n > int64(1<<63-1)/int64(time.Millisecond) {
		return -1
	}
	return time.Duration(n) * time.Millisecond
}

// native are settings by Kafka's names. policy is the stream's present
// cleanup.policy, "" where it has none yet.
func native(s driver.Settings, policy string) (map[string]*string, error) {
	if s.MaxMessages != nil && *s.MaxMessages >= 0 {
		return nil, unlisted("", "Kafka does not bound a stream by its number of messages: use its age or its bytes")
	}
	m := map[string]*string{}
	set := func(name string, n int64) { m[name] = new(strconv.FormatInt(n, 10)) }
	drops := false // by age or size
	if s.MaxAge != nil {
		ms := int64(-1)
		if *s.MaxAge >= 0 {
			// A part of a millisecond keeps longer, not for no time at all.
			ms = int64((*s.MaxAge + time.Millisecond - 1) / time.Millisecond)
			drops = true
		}
		set(setAge, ms)
	}
	if s.MaxBytes != nil {
		drops = drops || *s.MaxBytes >= 0
		set(setBytes, max(*s.MaxBytes, -1))
	}
	if s.MaxMessage != nil {
		if *s.MaxMessage < 0 {
			set(setMessage, 1<<31-1) // as near to no limit as Kafka goes
		} else {
			set(setMessage, *s.MaxMessage)
		}
	}
	if s.MinInSync != nil {
		set(setInSync, int64(*s.MinInSync))
	}
	switch _, named := s.Native[setPolicy]; {
	case named:
	case s.Compact != nil && !*s.Compact:
		m[setPolicy] = new(policyDrop)
	case s.Compact != nil && drops:
		m[setPolicy] = new(policyMixed)
	case s.Compact != nil:
		if !strings.Contains(policy, policyKeep) {
			m[setPolicy] = new(policyKeep)
		}
	case drops && strings.Contains(policy, policyKeep) && !strings.Contains(policy, policyDrop):
		return nil, driver.Errorf(driver.ErrInvalid, "", "the stream is compacted, and age and size remove nothing from it: set %s=%s as well", setPolicy, policyMixed)
	}
	for k, v := range s.Native {
		m[k] = v
	}
	return m, nil
}

// alterConfigs changes settings of a topic or a broker; a nil value takes one
// back to its default.
func (c *client) alterConfigs(ctx context.Context, kind kmsg.ConfigResourceType, name string, set map[string]*string) error {
	if len(set) == 0 {
		return nil
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for k, v := range set {
		e := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		e.Name, e.Value, e.Op = k, v, kmsg.IncrementalAlterConfigOpSet
		if v == nil {
			e.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, e)
	}
	req.Resources = append(req.Resources, r)
	answers, err := c.sharded(ctx, req)
	if err != nil {
		return err
	}
	for _, a := range answers {
		if a.Err != nil {
			return a.Err
		}
		for _, r := range a.Resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
			if err := answer(r.ErrorCode, r.ErrorMessage); err != nil {
				return err
			}
		}
	}
	return nil
}
