//! The parameters in the query of a request.

use actix_web::web::Query;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::refusal::{HttpCode, HttpRefusal};

/// All parameters. None may stand twice.
pub(crate) fn parameters(query: &str) -> Result<Map<String, Value>, HttpRefusal> {
    let pairs: Vec<(String, String)> = Query::from_query(query).map(Query::into_inner).unwrap_or_default();
    let mut parameters = Map::new();
    for (name, value) in pairs {
        let twice = format!("the query has the parameter `{name}` twice");
        if parameters.insert(name, value.into()).is_some() {
            return Err(HttpRefusal::new(HttpCode::BadRequest, twice));
        }
    }
    Ok(parameters)
}

/// Reads the parameters of a type whose fields are all optional texts. Others are ignored.
pub(crate) fn read<T: DeserializeOwned>(query: &str) -> Result<T, HttpRefusal> {
    Query::from_query(query).map(Query::into_inner).or_else(|error| {
        // Reading optional texts fails only if one of them stands twice.
        parameters(query)?;
        Err(HttpRefusal::new(HttpCode::BadRequest, error.to_string()))
    })
}
