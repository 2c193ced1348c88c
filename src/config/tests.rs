//! Accepted values, refused values, and how they are shown.

use super::kinds::HIDDEN;
use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_variables(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[test]
fn without_variables_every_default_is_valid() {
    assert_eq!(read(&[]), Ok(Config::default()));
    assert_eq!(Config::default().messages_per_second, 50);
}

#[test]
fn a_bad_value_is_named_with_its_variable_and_range() {
    let error = read(&[("CHAT_BURST", "many")]).unwrap_err();
    assert_eq!(error.to_string(), "CHAT_BURST=many: must be a whole number from 1 to 1000000");
    assert!(read(&[("CHAT_BURST", "0")]).is_err() && read(&[("CHAT_BURST", "1")]).is_ok());
    assert!(read(&[("CHAT_BURST", "1000000")]).is_ok() && read(&[("CHAT_BURST", "1000001")]).is_err());
    assert!(read(&[("CHAT_BIND", "here")]).is_err());
    assert!(read(&[("CHAT_LOG", "loud=very")]).is_err());
    let error = read(&[("CHAT_HISTORY", "disk")]).unwrap_err();
    assert_eq!(error.to_string(), "CHAT_HISTORY=disk: must be sqlite or memory or off");
    assert!(read(&[("CHAT_HISTORY_PATH", "data/")]).is_err());
}

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest() {
    let error = read(&[("CHAT_MESSAGE_PER_SECOND", "1")]).unwrap_err();
    assert_eq!(error.to_string(), "CHAT_MESSAGE_PER_SECOND is not known; did you mean CHAT_MESSAGES_PER_SECOND?");
    assert!(read(&[("OTHER_BURST", "many")]).is_ok());
}

#[test]
fn what_two_knobs_demand_of_each_other_is_checked() {
    assert!(read(&[("CHAT_MESSAGE_BYTES", "21504")]).is_ok());
    let error = read(&[("CHAT_MESSAGE_BYTES", "21505")]).unwrap_err();
    assert!(error.to_string().starts_with("CHAT_FRAME_BYTES=131072 is too small"), "{error}");
    let large = [("CHAT_MESSAGE_BYTES", "200000"), ("CHAT_FRAME_BYTES", "2000000")];
    assert!(read(&large).unwrap_err().to_string().starts_with("CHAT_OUTBOX_BYTES=1048576 is too small"));
    let outboxes = |bytes| read(&[("CHAT_WORKERS", "3"), ("CHAT_OUTBOXES_BYTES", bytes)]);
    assert!(outboxes("3145728").is_ok());
    let error = outboxes("3145727").unwrap_err();
    assert!(error.to_string().starts_with("CHAT_OUTBOXES_BYTES=3145727 is too small"), "{error}");
    assert!(read(&[("CHAT_TLS_CERT", "c.pem"), ("CHAT_TLS_KEY", "k.pem")]).is_ok());
    let error = read(&[("CHAT_TLS_KEY", "k.pem")]).unwrap_err();
    assert_eq!(error.to_string(), "CHAT_TLS_KEY is set and CHAT_TLS_CERT is not: TLS needs both");
}

#[test]
fn outboxes_get_at_most_half_of_the_memory_and_at_least_one_outbox_for_each_worker() {
    let mib = |count: u64| (count * 1024 * 1024).to_string();
    for (memory, outboxes, each) in [(256, 1_024, 64), (256, 32, 16), (96, 1_024, 24)] {
        let variables = [
            ("CHAT_WORKERS", "2".to_owned()),
            ("CHAT_MEMORY_BYTES", mib(memory)),
            ("CHAT_OUTBOXES_BYTES", mib(outboxes)),
        ];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(read(&variables).unwrap().chat().outboxes_bytes_per_hub, each * 1024 * 1024, "{memory}");
    }
}

#[test]
fn a_combination_that_authenticates_nobody_or_in_two_ways_is_refused() {
    let (jwt, secret) = (("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", "0123456789abcdef0123456789abcdef"));
    let key = ("CHAT_JWT_PUBLIC_KEY_FILE", "key.pem");
    for good in [&[jwt, secret][..], &[jwt, key], &[("CHAT_AUTH", "open")]] {
        assert!(read(good).is_ok(), "{good:?}");
    }
    for bad in [&[jwt][..], &[jwt, secret, key], &[secret], &[key]] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.starts_with("CHAT_AUTH=") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let (secret, admin) = ("0123456789abcdef0123456789abcdef", "0123456789abcdef");
    let config = read(&[("CHAT_AUTH", "jwt"), ("CHAT_JWT_SECRET", secret), ("CHAT_ADMIN_TOKEN", admin)]).unwrap();
    let shown = format!("{config}{config:?}{:?}", config.values());
    assert!(!shown.contains(admin) && shown.contains("CHAT_JWT_SECRET=(hidden)\n"), "{shown}");
    let error = read(&[("CHAT_JWT_SECRET", &secret[1..])]).unwrap_err().to_string();
    assert_eq!(error, "CHAT_JWT_SECRET=(hidden): must be a secret of at least 32 bytes, or empty");
    assert!(read(&[("CHAT_ADMIN_TOKEN", &admin[1..])]).is_err() && read(&[("CHAT_ADMIN_TOKEN", admin)]).is_ok());
    assert!(read(&[("CHAT_ADMIN_TOKEN", HIDDEN)]).is_err(), "what is printed is not taken for the secret");
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let config = read(&[("CHAT_NATS_URL", "tls://chat:hunter2@a:1,nats://b:2")]).unwrap();
    let shown = format!("{config}{config:?}{:?}", config.values());
    assert!(!shown.contains("hunter2") && shown.contains("CHAT_NATS_URL=tls://(hidden)@a:1,nats://b:2\n"), "{shown}");
    let error = read(&[("CHAT_NATS_URL", "http://chat:hunter2@a:1")]).unwrap_err().to_string();
    assert!(error.starts_with("CHAT_NATS_URL=http://(hidden)@a:1: must be addresses"), "{error}");
    assert!(read(&[("CHAT_NATS_URL", "tls://(hidden)@a:1")]).is_err(), "what is printed is not taken for the password");
}

#[test]
fn a_server_is_a_node_with_an_address_of_nats_alone() {
    assert_eq!(Config::default().nats(), None);
    assert_eq!(read(&[("CHAT_NATS_REPLICAS", "3"), ("CHAT_NODE_NAME", "a")]).unwrap().nats(), None);
    let error = read(&[("CHAT_NATS_CREDENTIALS", "a.creds")]).unwrap_err().to_string();
    assert!(error.starts_with("CHAT_NATS_CREDENTIALS is set and CHAT_NATS_URL is not: "), "{error}");
    let nats =
        read(&[("CHAT_NATS_URL", "nats://a,nats://b"), ("CHAT_MESSAGE_BYTES", "20000")]).unwrap().nats().unwrap();
    assert_eq!((nats.urls.len(), nats.replicas, nats.stream.as_str()), (2, 1, "starling"));
    assert!(!nats.node.is_empty() && nats.record_bytes_max == RECORD_BYTES_MAX, "{nats:?}");
    let large =
        [("CHAT_MESSAGE_BYTES", "1048576"), ("CHAT_FRAME_BYTES", "16777216"), ("CHAT_OUTBOX_BYTES", "67108864")];
    let nats = read(&[&large[..], &[("CHAT_NATS_URL", "nats://a")]].concat()).unwrap().nats().unwrap();
    assert_eq!(nats.record_bytes_max, 1_048_576 + RECORD_OVERHEAD, "a record holds the largest message");
}

#[test]
fn what_must_be_the_same_on_all_nodes_is_a_variable_without_a_secret_and_documented() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/nodes.md")).unwrap();
    let values = Config::default().same_on_all_nodes();
    assert_eq!(values.len(), SAME_ON_ALL_NODES.len());
    for knob in Config::knobs().iter().filter(|knob| values.contains_key(knob.variable)) {
        assert!(!knob.is_secret && page.contains(&format!("`{}`", knob.variable)), "{}", knob.variable);
    }
}

#[test]
fn what_is_printed_is_what_can_be_read() {
    let config = read(&[("CHAT_BIND", "[::1]:9"), ("CHAT_WORKERS", "3")]).unwrap();
    let printed = config.to_string();
    let lines = printed.lines().filter_map(|line| line.split_once('='));
    let again = Config::from_variables(lines.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(again, Ok(config));
}

#[test]
fn the_chats_own_defaults_are_those_of_the_variables() {
    let default = ChatConfig::default();
    let config = read(&[("CHAT_HISTORY", "memory")]).unwrap();
    // The share of the memory depends on the machine.
    let chat = ChatConfig { outboxes_bytes_per_hub: default.outboxes_bytes_per_hub, ..config.chat() };
    assert_eq!(format!("{chat:#?}"), format!("{default:#?}"));
}
