//! The command line: a flag for each variable of the environment, which it beats.

use clap::Parser;
use vertice_config::Env;

/// Registers one service with the registry and keeps it registered while it is healthy.
///
/// Every flag stands for the environment variable of the same name. The token comes from VERTICE_REGISTRY_TOKEN or
/// REGISTRY_AUTH_TOKEN, or from the file that one of these with _FILE at its end names: a flag could be read by every
/// process of the host.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "vertice-sidecar", version)]
pub struct Flags {
    /// SERVICE_NAME: 2 to 64 of a-z, 0-9, _ and -
    #[arg(long, value_name = "NAME")]
    pub service_name: Option<String>,
    /// SERVICE_HOST: where the service listens, as the gateway reaches it
    #[arg(long, value_name = "HOST")]
    pub service_host: Option<String>,
    /// SERVICE_PORT [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub service_port: Option<String>,
    /// SERVICE_HEALTH_ENDPOINT: answers 200 when the service is healthy [default: /health]
    #[arg(long, value_name = "PATH")]
    pub service_health_endpoint: Option<String>,
    /// INSTANCE_ID [default: host:port]
    #[arg(long, value_name = "ID")]
    pub instance_id: Option<String>,
    /// REGISTRY_URL [default: http://vertice-register-lb:80]
    #[arg(long, value_name = "URL")]
    pub registry_url: Option<String>,
    /// VERTICE_REGISTRY_TOKEN_FILE: the file that the token stands in
    #[arg(long, value_name = "FILE")]
    pub vertice_registry_token_file: Option<String>,
    /// REGISTRY_AUTH_TOKEN_FILE: the file that the token stands in
    #[arg(long, value_name = "FILE")]
    pub registry_auth_token_file: Option<String>,
    /// HEARTBEAT_INTERVAL [default: what the registry asks for]
    #[arg(long, value_name = "SECONDS")]
    pub heartbeat_interval: Option<String>,
    /// INITIAL_WAIT_TIMEOUT: the longest wait for a healthy service before it is registered anyway [default: 60]
    #[arg(long, value_name = "SECONDS")]
    pub initial_wait_timeout: Option<String>,
    /// ADMIN_LISTEN: address of /live, /ready and /metrics [default: none]
    #[arg(long, value_name = "ADDR")]
    pub admin_listen: Option<String>,
}

impl Flags {
    /// The environment as the flags change it. A token's file beats a token of the same name.
    pub fn over(self, env: &Env) -> Env {
        let flags = [
            ("SERVICE_NAME", self.service_name),
            ("SERVICE_HOST", self.service_host),
            ("SERVICE_PORT", self.service_port),
            ("SERVICE_HEALTH_ENDPOINT", self.service_health_endpoint),
            ("INSTANCE_ID", self.instance_id),
            ("REGISTRY_URL", self.registry_url),
            ("VERTICE_REGISTRY_TOKEN_FILE", self.vertice_registry_token_file),
            ("REGISTRY_AUTH_TOKEN_FILE", self.registry_auth_token_file),
            ("HEARTBEAT_INTERVAL", self.heartbeat_interval),
            ("INITIAL_WAIT_TIMEOUT", self.initial_wait_timeout),
            ("ADMIN_LISTEN", self.admin_listen),
        ];
        let said: Vec<(&str, String)> = flags.into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        let beaten = |name: &str| said.iter().any(|(flag, _)| flag.strip_suffix("_FILE") == Some(name));
        let kept = env.iter().filter(|(name, _)| !beaten(name)).map(|(k, v)| (k.to_owned(), v.to_owned()));
        kept.chain(said.iter().map(|(k, v)| ((*k).to_owned(), v.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_beat_the_environment_and_leave_the_rest() {
        let env = Env::from([
            ("SERVICE_NAME", "from_env"),
            ("SERVICE_PORT", "1"),
            ("REGISTRY_AUTH_TOKEN", "from env"),
            ("VERTICE_REGISTRY_TOKEN", "stays"),
        ]);
        let arguments = ["x", "--service-name", "from_flag", "--registry-auth-token-file", "/run/token"];
        let merged = Flags::try_parse_from(arguments).unwrap().over(&env);
        assert_eq!(merged.get("SERVICE_NAME"), Some("from_flag"));
        assert_eq!(merged.get("SERVICE_PORT"), Some("1"));
        assert_eq!(merged.get("REGISTRY_AUTH_TOKEN"), None);
        assert_eq!(merged.get("REGISTRY_AUTH_TOKEN_FILE"), Some("/run/token"));
        assert_eq!(merged.get("VERTICE_REGISTRY_TOKEN"), Some("stays"));
    }

    #[test]
    fn no_flag_takes_a_token_and_unknown_ones_are_refused() {
        for bad in ["--registry-auth-token", "--service-nam"] {
            assert!(Flags::try_parse_from(["x", bad, "y"]).is_err(), "{bad}");
        }
    }
}
