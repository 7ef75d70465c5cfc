const password = document.getElementById("password").value;
fetch("/login?token=" + token, {method: "POST", headers: {Authorization: `Bearer ${token}`}});
export default {data() { return {password: "", token: null, secret: secret}; }, computed: {token: e.token}};
form.password = form.value;
