pub fn verdict(_error: &object_store::Error) -> crate::retry::Verdict {
    crate::retry::Verdict::Transient
}
pub fn explain(error: &object_store::Error) -> String {
    error.to_string()
}
